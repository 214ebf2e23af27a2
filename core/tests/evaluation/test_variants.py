from datetime import timedelta

import numpy as np
import pytest

from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines import BASELINES, baseline_of
from perfopt.plugin.context import AnalysisContext
from perfopt.testing import make_snapshot

GIB = 2**30


def sizes(name, cpu=0.4, memory=1.0, *, limits=(0.45, GIB), measured=True):
    container = Container(name="main", cpu_limit_cores=limits[0], memory_limit_bytes=limits[1])
    state = WorkloadState(containers=(container,), replicas=1)
    metrics = {"cpu_cores": np.full(2016, cpu), "memory_bytes": np.full(2016, memory * GIB)}
    snapshot = make_snapshot({"main": metrics if measured else {}}, state=state)
    found = baseline_of(name).decide(AnalysisContext(snapshot, timedelta(days=3), DEFAULT_PRICE_BOOK))
    if isinstance(found, Declined):
        return found
    (sized,) = found.containers
    return sized.cpu_request_cores, sized.memory_request_bytes


def test_a_margin_is_added_to_both_requests():
    assert sizes("max+20%") == (0.48, -(-GIB * 12 // 10))
    assert sizes("max") == (0.4, GIB)


def test_a_cap_is_the_current_limit_of_each_and_comes_after_the_margin():
    assert sizes("max+20%+cap") == sizes("max+cap+20%") == (0.45, GIB)
    assert sizes("max+cap", limits=(0.3, 2 * GIB)) == (0.3, GIB)
    assert sizes("max+cap", limits=(None, None)) == (0.4, GIB)


def test_without_samples_a_variant_declines_as_its_baseline_does():
    assert isinstance(sizes("max+20%", measured=False), Declined)


def test_the_line_on_what_it_does_names_both():
    about = baseline_of("vpa+5%+cap").about
    assert about == f"{BASELINES['vpa'].about}, 5% on top, at most the current limit"
    assert baseline_of("vpa+cap").about == f"{BASELINES['vpa'].about}, at most the current limit"


@pytest.mark.parametrize(
    "name", ["vpa+", "vpa+20", "vpa+20%+30%", "vpa+cap+cap", "mine+20%", "vpa+2000%", "mine"]
)
def test_other_names_are_no_baseline(name):
    assert baseline_of(name) is None
