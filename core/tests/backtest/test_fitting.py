import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from perfopt.backtest import ScheduleRequest, make_schedule
from perfopt.backtest.evaluate import origin_cases
from perfopt.backtest.fitting import FittedPolicy, examples_of, fit_policies
from perfopt.batch import open_executor
from perfopt.config import Config
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines.fitted import FleetExample
from perfopt.evaluation.split import split_of
from perfopt.sources.factory import open_source
from perfopt.testing import daily_usage, make_snapshot

GIB = 2**30
HALVES = ("tune", "report")


def case(later=1.0):
    cpu = daily_usage(14)
    cpu[11 * 288 :] *= later
    container = Container(
        name="main", cpu_request_cores=4.0, memory_request_bytes=16 * GIB, cpu_limit_cores=4.0
    )
    snapshot = make_snapshot(
        {"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}}, state=WorkloadState(containers=(container,))
    )
    schedule = make_schedule(
        snapshot.grid.end, history=timedelta(days=7), validity=timedelta(days=3), origins="1"
    )
    return next(origin_cases(snapshot, schedule, DEFAULT_PRICE_BOOK))


def teacher(service, ended, need=1.5):
    return FleetExample(
        service=service,
        ended=ended,
        features=np.zeros(1),
        peaks=np.ones(2),
        needs=np.full(2, need),
        limits=np.full(2, np.inf),
        costs=np.ones(2),
        current=np.full(2, 10.0),
    )


def names_of(half):
    return next(name for name in (f"svc{i}" for i in range(50)) if split_of(name) == half)


def other_half():
    mine = case().known.workload.service_name
    return names_of("report" if split_of(mine) == "tune" else "tune")


def test_sizes_come_from_the_other_half_of_the_services():
    at = case().known.grid.end - timedelta(days=30)
    policy = FittedPolicy("constants-tuned", [teacher(other_half(), at)] * 60, 1)
    made = policy.recommend(case())
    peak = np.nanmax(case().known.series("main", "memory_bytes").values)
    assert made.target.containers[0].memory_request_bytes == pytest.approx(1.5 * peak, abs=1)


def test_nothing_is_learnt_from_the_own_half_or_from_outcomes_that_had_not_ended():
    mine, end = case().known.workload.service_name, case().known.grid.end
    for teachers in ([teacher(mine, end - timedelta(days=30))] * 60, [teacher(other_half(), end)] * 60):
        made = FittedPolicy("constants-tuned", teachers, 1).recommend(case())
        assert isinstance(made, Declined)
        assert made.code.value == "no_data"


def test_features_hold_nothing_of_the_window_after_the_origin():
    calm, grown = (examples_of(case(later))["main"] for later in (1.0, 3.0))
    assert (calm.features == grown.features).all()
    assert (grown.needs > calm.needs).all()


def test_a_fleet_is_read_over_all_its_history(pytestconfig):
    path = pytestconfig.rootpath / "core/tests/data/bitbrains_three_vms.parquet"

    async def read():
        source = open_source(str(path), Config(), None)
        inventory = await source.inventory(datetime(2014, 1, 1, tzinfo=UTC))
        asked = [msgspec.structs.replace(inventory[0], service_name=names_of(half)) for half in HALVES]
        request = ScheduleRequest(history=timedelta(days=7), validity=timedelta(days=1), origins="1")
        with open_executor("processes", 1) as batch:
            return await fit_policies(["constants-tuned"], source, inventory, asked, request, Config(), batch)

    (policy,) = asyncio.run(read())
    assert len({one.ended for one in policy.examples}) >= 7
    assert len({one.service for one in policy.examples}) == 3
    assert all((one.needs > 0).all() for one in policy.examples)
