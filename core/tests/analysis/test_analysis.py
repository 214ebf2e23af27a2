from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.analysis import analyze_fleet, analyze_request
from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.engine import PluginRegistry
from perfopt.errors import InvalidInputError, NoDataError, NotFoundError, SourceError
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.base import FailedSnapshot
from perfopt.testing import daily_usage, make_snapshot
from perfopt.testing.snapshots import END

STEP = timedelta(minutes=5)
RESOURCE = (OptimizationType.RESOURCE_OPTIMIZATION,)


class FakeSource:
    """Holds 14 days of history of each name, as a source would give it out."""

    name = "fake"

    def __init__(self, *names, cpu=None, failing=()):
        self.cpu = daily_usage(14) if cpu is None else cpu
        self.workloads = tuple(make_snapshot(name=name).workload for name in names)
        self.failing = failing
        self.read = []

    async def latest(self):
        return END

    async def inventory(self, at):
        return self.workloads

    async def snapshots(self, workloads, start, end, metrics):
        self.read.append((start, end, frozenset(metrics)))
        for workload in workloads:
            if workload.service_name in self.failing:
                yield FailedSnapshot(workload, SourceError("The server answered 422."))
                continue
            grid = TimeGrid.covering(start, end, STEP)
            values = np.full(grid.size, np.nan)
            known = round((grid.start - (END - self.cpu.size * STEP)) / STEP)
            for step in range(grid.size):
                if 0 <= known + step < self.cpu.size:
                    values[step] = self.cpu[known + step]
            yield replace(make_snapshot({"main": {"cpu_cores": values}}, end=grid.end), workload=workload)

    async def close(self):
        self.workloads = ()


class FakeEngine:
    """Stands for the engine: answers with what it was asked."""

    registry = PluginRegistry((), ())

    def metrics(self, types):
        return frozenset({"cpu_cores"})

    def analyze(self, snapshot, types, validity, include_predictions=False):
        self.asked = (snapshot, types, validity, include_predictions)
        warnings = tuple(AnalysisWarning(code=code, message=text) for code, text in snapshot.warnings)
        name = snapshot.workload.service_name
        return AnalysisResult(
            service_name=name, workload=name, recommendations=(), declined=(), warnings=warnings
        )


async def ask(source, engine=None, **fields):
    request = PerformanceAnalysisRequest(**{"service_name": "web"} | fields)
    return await analyze_request(request, source, engine or FakeEngine())


async def test_the_period_ends_where_the_source_ends():
    source, engine = FakeSource("web", "db"), FakeEngine()
    result = await ask(source, engine, optimization_types=RESOURCE, include_predictions=True)
    assert result.service_name == "web"
    assert result.warnings == ()
    assert source.read == [(END - timedelta(days=14), END, frozenset({"cpu_cores"}))]
    assert engine.asked[1:] == (RESOURCE, timedelta(days=7), True)


async def test_a_period_with_an_end_is_analysed_as_of_then():
    source = FakeSource("web")
    await ask(source, analysis_period="2026-02-20T00:00:00Z/2026-02-27T00:00:00Z")
    assert source.read[0][:2] == (datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 2, 27, tzinfo=UTC))


async def test_no_type_means_all_of_them():
    engine = FakeEngine()
    await ask(FakeSource("web"), engine)
    assert engine.asked[1] == tuple(OptimizationType)


async def test_less_history_than_asked_is_a_warning():
    result = await ask(FakeSource("web", cpu=daily_usage(4)))
    (warning,) = result.warnings
    assert warning.code == "short_history"
    assert warning.message == "The source has 4d of the 14d of history requested."


async def test_no_history_is_an_error_that_says_what_to_do():
    with pytest.raises(NoDataError, match=r"no sample of web in the 14d .* Ask for a period") as caught:
        await ask(FakeSource("web", cpu=np.empty(0)))
    assert caught.value.field == "analysis_period"


async def test_an_unknown_service_lists_the_nearest():
    with pytest.raises(NotFoundError) as caught:
        await ask(FakeSource("webb", "db"))
    assert "webb" in caught.value.candidates


@pytest.mark.parametrize(("field", "value"), [("analysis_period", "soon"), ("validity", "-1d")])
async def test_malformed_durations_name_their_field(field, value):
    with pytest.raises(InvalidInputError) as caught:
        await ask(FakeSource("web"), **{field: value})
    assert caught.value.field == field


async def test_what_the_source_refused_is_raised():
    with pytest.raises(SourceError, match="422"):
        await ask(FakeSource("web", failing=("web",)))


@pytest.mark.parametrize("concurrency", [1, 3, 20])
async def test_a_fleet_is_answered_in_order_and_past_failures(concurrency):
    names = [f"service-{number}" for number in range(7)]
    source = FakeSource(*names, failing=("service-2",))
    found = [item async for item in analyze_fleet(source, FakeEngine(), concurrency=concurrency)]
    answered = [
        item.service_name if isinstance(item, AnalysisResult) else item[0].service_name for item in found
    ]
    assert answered == names
    failed = found[2]
    assert isinstance(failed, tuple)
    assert isinstance(failed[1], SourceError)


async def test_a_fleet_can_be_named_and_dated():
    source = FakeSource("a", "b", "c")
    until = END - timedelta(days=2)
    found = [item async for item in analyze_fleet(source, FakeEngine(), ["c", "a"], until=until)]
    assert [item.service_name for item in found] == ["c", "a"]
    assert source.read[0][:2] == (until - timedelta(days=14), until)


async def test_a_fleet_member_without_data_is_an_item_not_the_end():
    source = FakeSource("a", cpu=np.empty(0))
    (found,) = [item async for item in analyze_fleet(source, FakeEngine())]
    assert isinstance(found, tuple)
    workload, error = found
    assert (workload.service_name, error.code) == ("a", "no_data")
