from datetime import timedelta

import numpy as np
import pytest

from perfopt.errors import InvalidInputError
from perfopt.testing import make_snapshot
from perfopt_resource.training.examples import OriginSampling, collect, samplings
from perfopt_resource.training.fleet import containers_of
from perfopt_resource.training.train import train_forest

HOUR = 3600


def test_containers_that_measure_use_are_learnt_from_by_the_name_of_their_workload():
    cpu = np.full(1000, np.nan)
    cpu[100:900] = 0.5
    measured = {"cpu_cores": cpu, "cpu_limit_cores": np.full(1000, 2.0)}
    (series,) = containers_of(make_snapshot({"app": measured}, name="svc"))
    assert series.name == "svc"
    assert np.isfinite(series.cpu_cores).sum() == 800
    assert series.memory_bytes is None
    assert series.cpu_limit_cores.tolist() == [2.0] * 1000


def test_of_several_containers_each_has_its_own_name_and_idle_ones_are_left_out():
    busy, idle = {"cpu_cores": np.full(1000, 0.5)}, {"cpu_cores": np.full(1000, np.nan)}
    found = containers_of(make_snapshot({"web": busy, "app": busy, "idle": idle}, name="svc"))
    assert [series.name for series in found] == ["svc/app", "svc/web"]


def test_a_week_is_learnt_from_every_second_day_and_shorter_times_in_between():
    assert samplings() == (
        OriginSampling(168 * HOUR, 48 * HOUR, aligned=True),
        OriginSampling(168 * HOUR, 288 * HOUR, aligned=False, history=4.0),
        OriginSampling(72 * HOUR, 288 * HOUR, aligned=False),
        OriginSampling(24 * HOUR, 432 * HOUR, aligned=False),
        OriginSampling(6 * HOUR, 432 * HOUR, aligned=False),
        *(
            OriginSampling(168 * HOUR, 480 * HOUR, aligned=False, history=days / 7)
            for days in (3, 4, 5, 7, 10)
        ),
    )


def test_a_fleet_without_limits_is_learnt_from_too(fleet):
    pytest.importorskip("sklearn")
    from dataclasses import replace

    bare = [replace(one, cpu_limit_cores=None, memory_limit_bytes=None) for one in fleet]
    examples = collect(bare, samplings(timedelta(days=1)))
    forest = train_forest(examples, 3)
    assert np.isnan(forest.given).all()
    assert forest.cells(forest.leaves(examples.features[0])).sum() == pytest.approx(1)


def test_a_fleet_that_measures_no_memory_is_refused_in_plain_words(fleet):
    pytest.importorskip("sklearn")
    from dataclasses import replace

    examples = collect([replace(one, memory_bytes=None) for one in fleet], samplings(timedelta(days=1)))
    with pytest.raises(InvalidInputError, match="not enough memory to learn from"):
        train_forest(examples)
