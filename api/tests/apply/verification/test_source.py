import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.errors import NoDataError, SourceError
from perfopt_api.apply.cluster import WorkloadChange, WorkloadTarget
from perfopt_api.apply.verification.harm import MetricBounds
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.apply.verification.source import SourceVerifier, figures_of

from .worlds import START, from_step, history

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="q", name="api")
SINCE = START + timedelta(minutes=270)


class PodSource:
    """A source of one workload's pods; counts what is read."""

    name = "prometheus"

    def __init__(self, pods, namespace="q"):
        self.pods, self.reads = pods, []
        identity = WorkloadId(namespace=namespace, kind="Deployment", name="api")
        self.workload = Workload(
            id=identity,
            service_name="api",
            state=WorkloadState(replicas=len(pods.pods), containers=()),
        )

    async def inventory(self, at):
        return (self.workload,)

    async def pod_history(self, workload, pods, start, end, step):
        self.reads.append((start, end))
        grid = self.pods.grid
        part = self.pods.between(grid.index(start), grid.index(end))
        return part if pods is None else part.of(pods)


def verifier(source):
    return SourceVerifier(
        source,
        VerificationSettings(past_hours=4.5, placebos=50),
        clock=lambda: SINCE,
    )


def look(judge, minutes=30, canary=("a",), horizon=30):
    change = WorkloadChange(target=TARGET)
    until = SINCE + timedelta(minutes=minutes)
    return asyncio.run(judge.look(change, canary, SINCE, until, horizon=timedelta(minutes=horizon)))


def test_what_is_fixed_before_a_change_is_computed_once():
    source = PodSource(history(from_step(0.1, 0.05)))
    judge = verifier(source)
    assert look(judge, 5).verdict in ("inconclusive", "failed")
    assert look(judge, 30).verdict == "failed"
    assert sum(end == SINCE for _, end in source.reads) == 1


def test_a_verifier_that_was_restarted_comes_to_the_same():
    pods = history(from_step(0.08, 0.05))
    judge = verifier(PodSource(pods))
    look(judge, 10)
    assert look(judge) == look(verifier(PodSource(pods)))


def test_a_pod_alone_has_no_control():
    answer = look(verifier(PodSource(history(pods=1))))
    assert answer.verdict == "inconclusive"
    assert "no pod beside" in answer.reason


def test_a_workload_that_the_source_does_not_know_is_no_data():
    with pytest.raises(NoDataError, match="knows no q/deployment/api"):
        look(verifier(PodSource(history(), namespace="other")))


def test_a_workload_that_is_not_known_is_missing_in_a_phrase_that_reads_on():
    missing = asyncio.run(verifier(PodSource(history(), namespace="other")).ready(TARGET))
    assert missing == ("its pods (The metric source prometheus knows no q/deployment/api)",)


def test_files_do_not_tell_pods_apart():
    class Files:
        name = "files"
        inventory = PodSource(history()).inventory

    with pytest.raises(SourceError, match="does not tell the pods of a workload apart"):
        look(verifier(Files()))


def test_what_a_verification_needs_is_named_where_it_is_missing():
    pods = history()
    bare = PodSource(type(pods)(pods.grid, pods.pods))
    assert asyncio.run(verifier(PodSource(pods)).ready(TARGET)) == ()
    missing = asyncio.run(verifier(bare).ready(TARGET))
    assert any("throttling" in one for one in missing)
    assert any("requests by pod" in one for one in missing)


def test_throttling_is_that_of_the_last_ten_minutes_or_is_not_known():
    pods = history()
    share = np.full(pods.requests.shape, np.nan)
    at = pods.grid.index(SINCE)
    share[0, at - 10 : at], share[1, at - 10 : at] = 1.0, 0.6
    share[:, : at - 10] = 0.0
    starved = replace(pods, levels={"cpu_throttled_fraction": share})
    assert asyncio.run(verifier(PodSource(starved)).throttled(TARGET)) == pytest.approx(0.8)
    for levels in ({}, {"cpu_throttled_fraction": np.full(share.shape, np.nan)}):
        with pytest.raises(NoDataError, match="throttling of q/deployment/api is not known"):
            asyncio.run(verifier(PodSource(replace(pods, levels=levels))).throttled(TARGET))


@pytest.mark.parametrize(("kind", "days"), [("Deployment", 1), ("CronJob", 14)])
def test_peaks_of_memory_are_those_of_a_day_or_of_two_weeks_where_it_runs_seldom(kind, days):
    class Peaks(PodSource):
        async def snapshots(self, workloads, start, end, metrics):
            self.reads.append((start, end))
            for nothing in ():
                yield nothing

    source = Peaks(history())
    identity = WorkloadId(namespace="q", kind=kind, name="api")
    source.workload = Workload(id=identity, service_name="api", state=source.workload.state)
    target = WorkloadTarget(api_version="v1", kind=kind, namespace="q", name="api")
    assert asyncio.run(verifier(source).memory_peaks(target)) == {}
    assert source.reads == [(SINCE - timedelta(days=days), SINCE)]


def test_a_longer_time_to_watch_narrows_the_bounds_at_its_end():
    judge = verifier(PodSource(history()))
    short, longer = (look(judge, minutes, canary=(), horizon=minutes) for minutes in (12, 40))
    shared = short.bounds.keys() & longer.bounds.keys()
    assert shared
    for name in shared:
        before, after = short.bounds[name], longer.bounds[name]
        assert after.upper - after.lower < before.upper - before.lower


@pytest.mark.parametrize(
    ("estimate", "lower", "upper", "shown"),
    [
        (0.98, 0.9, 1.06, "0.98 (0.90 to 1.06, accepted 1.25)"),
        (-0.00001, None, 0.0009, "0.0000 (at most 0.0009, accepted 1.25)"),
        (1.4, 1.1, None, "1.40 (at least 1.10, accepted 1.25)"),
        (1.4, None, None, "1.40 (bounds unknown yet, accepted 1.25)"),
    ],
)
def test_bounds_are_read_as_a_range_or_as_the_side_that_is_known(estimate, lower, upper, shown):
    bounds = MetricBounds(name="errors", estimate=estimate, lower=lower, upper=upper, margin=1.25)
    assert figures_of(bounds) == f"errors {shown}"
