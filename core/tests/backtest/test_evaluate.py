from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.backtest import (
    backtest_registry,
    choose_policies,
    engine_policies,
    make_schedule,
    open_engine,
)
from perfopt.backtest.controllers import CONTROLLERS
from perfopt.backtest.evaluate import evaluate_policies
from perfopt.backtest.policies import baseline_policy, baselines_of
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import Basis, OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.workload import Container, WorkloadState
from perfopt.errors import NotFoundError
from perfopt.evaluation.baselines import BASELINES
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.testing import daily_usage, make_snapshot

DAY, GIB = 288, 2**30
SIZES, REPLICAS = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.SCALING_OPTIMIZATION


def recorded(cpu, **more):
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB, **more}})


def schedule_of(snapshot, origins="2"):
    return make_schedule(
        snapshot.grid.end, history=timedelta(days=7), validity=timedelta(days=3), origins=origins
    )


def evaluated(snapshot, names=tuple(BASELINES), origins="2", kind=SIZES):
    policies = [baseline_policy(kind, name) for name in names]
    return evaluate_policies(snapshot, schedule_of(snapshot, origins), policies, DEFAULT_PRICE_BOOK)


@pytest.fixture(scope="module")
def engine():
    config = Config(engine=EngineConfig(processes=1))
    with open_engine(backtest_registry(config), config) as opened:
        yield opened


def test_every_policy_recommends_at_every_origin_and_is_scored_on_the_window_after_it():
    snapshot = recorded(daily_usage(14))
    rows = evaluated(snapshot)
    assert [row.policy for row in rows] == [*BASELINES, *BASELINES]
    assert {row.made_at for row in rows} == set(schedule_of(snapshot).origins)
    assert all(row.scored for row in rows)


def test_a_change_after_the_origin_changes_the_score_and_not_the_recommendation():
    cpu = np.full(14 * DAY, 0.2)
    calm = evaluated(recorded(cpu), ("max",), origins="1")[0]
    cpu[11 * DAY :] = 0.4
    grown = evaluated(recorded(cpu), ("max",), origins="1")[0]
    assert (calm.outcome, grown.outcome) == ("accurate", "inaccurate")
    assert calm.cpu.recommended == grown.cpu.recommended == 0.2
    assert grown.cpu.needed == 0.4


def test_no_recommendation_of_any_type_depends_on_what_came_later(engine):
    policies = engine_policies(engine, tuple(OptimizationType))
    if not policies:
        pytest.skip("no plugin is installed")
    cpu = daily_usage(14)
    later = cpu.copy()
    later[11 * DAY :] = 3.0
    state = WorkloadState(
        containers=(Container(name="main", cpu_request_cores=1.0, memory_request_bytes=4 * GIB),), replicas=4
    )
    made = []
    for values in (cpu, later):
        snapshot = make_snapshot({"main": {"cpu_cores": values, "memory_bytes": values * GIB}}, state=state)
        origin = schedule_of(snapshot, "1")
        made.append(evaluate_policies(snapshot, origin, policies, DEFAULT_PRICE_BOOK))
    for one, other in zip(*made, strict=True):
        assert (one.policy, one.code, one.confidence) == (other.policy, other.code, other.confidence)
        assert one.expected_saving == other.expected_saving
        if one.cpu is not None and other.cpu is not None:
            assert one.cpu.recommended == pytest.approx(other.cpu.recommended, rel=1e-12)
    assert {row.outcome for row in made[1] if row.scored} == {"inaccurate"}


@pytest.mark.parametrize("name", list(CONTROLLERS))
def test_a_controller_acts_on_what_came_before_each_step_only(name):
    cpu = daily_usage(14) * 8
    later = cpu.copy()
    later[12 * DAY :] *= 4
    one, other = (
        evaluated(recorded_replicas(values), (name,), origins="1", kind=REPLICAS)[0]
        for values in (cpu, later)
    )
    same = 70  # stretches of four steps, on the first of three days
    assert one.trace.replicas[:same] == other.trace.replicas[:same]
    assert one.trace.replicas != other.trace.replicas


def recorded_replicas(cpu, replicas=8):
    state = WorkloadState(
        containers=(Container(name="main", cpu_request_cores=1.0, memory_request_bytes=GIB),),
        replicas=replicas,
    )
    return make_snapshot({"main": {"cpu_cores": cpu / replicas}}, state=state)


def test_a_controller_saves_what_demand_does_not_need_and_the_current_replicas_nothing():
    snapshot = recorded_replicas(daily_usage(14) * 4)
    hpa, current = evaluated(snapshot, ("hpa-70", "current"), origins="1", kind=REPLICAS)
    assert current.cost.saved == 0
    assert current.no_change
    assert hpa.outcome == current.outcome == "accurate"
    assert 0 < hpa.cost.saved < hpa.cost.possible
    assert hpa.cost.minimum == current.cost.minimum


def test_a_service_that_did_not_exist_yet_is_not_evaluated():
    cpu = daily_usage(14)
    cpu[: 9 * DAY] = np.nan
    rows = evaluated(recorded(cpu), ("max",), origins="2")
    assert [row.short_history for row in rows] == [True]


def test_a_window_with_too_few_samples_is_not_scored():
    cpu = daily_usage(14)
    cpu[12 * DAY :] = np.nan
    row = evaluated(recorded(cpu), ("max",), origins="1")[0]
    assert (row.outcome, row.cpu) == ("not_scored", None)
    assert "50%" in row.reason


def sized(cpu=0.5, memory=GIB, **fields):
    container = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=memory)
    return WorkloadState(containers=(container,), replicas=1, **fields)


def test_the_state_at_an_origin_is_the_one_recorded_before_it():
    cpu = np.full(14 * DAY, 0.2)
    requests = np.full(14 * DAY, 2.0)
    requests[11 * DAY :] = 0.5
    metrics = {"cpu_cores": cpu, "memory_bytes": cpu * GIB, "cpu_request_cores": requests}
    snapshot = make_snapshot({"main": metrics}, state=sized())
    row = evaluated(snapshot, ("max",), origins="1")[0]
    book = DEFAULT_PRICE_BOOK
    before = 2.0 * book.cpu_core_hour + book.memory_gib_hour
    after = 0.2 * book.cpu_core_hour + 0.2 * book.memory_gib_hour
    assert row.expected_saving == pytest.approx(1 - after / before, rel=1e-6)
    assert row.cost.current == pytest.approx(730 * before, rel=1e-6)
    assert row.cost.recommended == pytest.approx(730 * after, rel=1e-6)
    assert row.cost.minimum == pytest.approx(730 * after, rel=1e-6)


def test_containers_are_short_each_by_itself():
    low, high = np.full(14 * DAY, 0.2), np.full(14 * DAY, 0.6)
    low[11 * DAY :], high[11 * DAY :] = 0.6, 0.2  # what one has too much does not help the other
    snapshot: WorkloadSnapshot = make_snapshot({"a": {"cpu_cores": low}, "b": {"cpu_cores": high}})
    row = evaluated(snapshot, ("max",), origins="1")[0]
    assert row.outcome == "inaccurate"
    assert row.cpu.recommended == pytest.approx(row.cpu.needed)


def test_savings_from_requests_assumed_from_limits_are_marked():
    cpu = np.full(14 * DAY, 0.2)
    state = msgspec.structs.replace(sized(), basis=Basis.ASSUMED_FROM_LIMIT)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}}, state=state)
    assert evaluated(snapshot, ("max",), origins="1")[0].assumed
    assert not evaluated(recorded(cpu), ("max",), origins="1")[0].assumed


def test_policies_are_chosen_by_name_and_ordered_by_type():
    types = (REPLICAS, SIZES)
    chosen = choose_policies(("max", "hpa-50", "current"), types, ())
    assert [(one.optimization_type, one.name) for one in chosen] == [
        (REPLICAS, "current"),
        (REPLICAS, "hpa-50"),
        (SIZES, "current"),
        (SIZES, "max"),
    ]
    assert len(choose_policies((), types, ())) == len(baselines_of(types))
    with pytest.raises(NotFoundError, match="There is no policy 'hpa-50' of RESOURCE_OPTIMIZATION"):
        choose_policies(("hpa-50",), (SIZES,), ())
    for name in ("hpa-50+20%+cap", "current+cap"):
        with pytest.raises(NotFoundError, match=r"no such variant. .*such as krr-simple\+20%\+cap"):
            choose_policies((name,), types, ())
