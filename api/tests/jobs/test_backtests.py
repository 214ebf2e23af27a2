"""Backtests in the background: claimed once, followed, cancelled, begun again, and kept with their report."""

import asyncio
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from perfopt.config.loading import Config, EngineConfig, FilesConfig
from perfopt.domain.enums import OptimizationType
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.jobs.backtests import BacktestRunner
from perfopt_api.store import backtests
from perfopt_api.store.backtests import BacktestRequest, PostgresBacktests
from perfopt_api.store.port import JobError

LEASE = timedelta(seconds=30)
CONSTANTS = BacktestRequest(
    types=(OptimizationType.RESOURCE_OPTIMIZATION,), policies=("constants",), history="5d", validity="2d"
)


@pytest.fixture
def store(database):
    return PostgresBacktests(database)


@pytest.fixture
def config(tmp_path):
    """Ten days of one service that uses half a core and a GiB."""
    instants = pd.date_range("2026-11-01", periods=240, freq="h", tz="UTC")
    waves = 0.5 + 0.1 * np.sin(np.arange(240) / 24 * 2 * np.pi)
    series = [("cpu_cores", waves), ("memory_bytes", np.full(240, 2.0**30)), ("cpu_limit", np.full(240, 2.0))]
    series.append(("memory_limit", np.full(240, 2.0**32)))
    frames = [
        pd.DataFrame({"series_id": "web", "timestamp": instants, "metric": name, "value": values})
        for name, values in series
    ]
    pd.concat(frames).to_csv(tmp_path / "samples.csv", index=False)
    files = FilesConfig(paths=str(tmp_path / "samples.csv"), step_seconds=3600)
    return Config(sources={"files": files}, default_source="files", engine=EngineConfig(processes=1))


async def test_a_run_is_taken_once_and_again_when_its_worker_is_lost(store):
    run_id = await store.start(CONSTANTS, "ada")
    first = await store.claim("one", timedelta(seconds=-1))
    assert (first.run_id, first.request, first.requester, first.status) == (
        run_id,
        CONSTANTS,
        "ada",
        "RUNNING",
    )
    second = await store.claim("two", LEASE)
    assert second.run_id == run_id
    assert await store.claim("three", LEASE) is None
    assert not await store.renew(run_id, "one", LEASE, "late")
    assert await store.renew(run_id, "two", LEASE, "evaluating: 1 of 2")
    assert (await store.get(run_id)).progress == "evaluating: 1 of 2"


async def test_a_run_whose_workers_are_lost_again_and_again_fails(store):
    run_id = await store.start(CONSTANTS, None)
    for number in range(backtests.MAX_ATTEMPTS):
        assert await store.claim(f"{number}", timedelta(seconds=-1)) is not None
    assert await store.claim("last", LEASE) is None
    run = await store.get(run_id)
    assert (run.status, run.error.code) == ("FAILED", "workers_lost")


async def test_only_so_many_wait_and_the_oldest_that_ended_go(store, monkeypatch):
    monkeypatch.setattr(backtests, "MAX_OPEN", 2)
    monkeypatch.setattr(backtests, "KEPT_RUNS", 2)
    old = await store.start(CONSTANTS, None)
    await store.claim("w", LEASE)
    assert await store.fail(old, "w", JobError(code="no_data", message="There is none."))
    waiting = [await store.start(CONSTANTS, None) for _ in range(2)]
    with pytest.raises(ConflictError, match="2 backtests wait or run"):
        await store.start(CONSTANTS, None)
    with pytest.raises(NotFoundError):
        await store.get(old)
    assert [run.run_id for run in await store.list(page=1, limit=50)] == waiting[::-1]


async def test_a_backtest_is_evaluated_and_keeps_figures_and_report(store, config):
    run_id = await store.start(CONSTANTS, "ada")
    await BacktestRunner(store, config).round()
    run = await store.get(run_id)
    assert (run.status, run.error) == ("DONE", None)
    assert [policy["policy"] for policy in run.result["policies"]] == ["constants"]
    assert "constants" in await store.report(run_id)


async def test_a_closed_loop_is_run_day_by_day_with_sizes_only(store, config):
    wanted = BacktestRequest(policies=("constants",), history="5d", closed_loop=True)
    wrong = BacktestRequest(types=(OptimizationType.COST_OPTIMIZATION,), closed_loop=True)
    run_id, refused_id = await store.start(wanted, None), await store.start(wrong, None)
    await store.start(CONSTANTS, None)
    await BacktestRunner(store, config).round()
    run = await store.latest_closed_loop()
    assert (run.run_id, run.status, run.error) == (run_id, "DONE", None)
    assert (run.result["every"], run.result["horizon"]) == ("1d", "1d")
    assert {policy["policy"] for policy in run.result["policies"]} == {"constants"}
    assert "constants" in await store.report(run_id)
    refused = await store.get(refused_id)
    assert "A closed loop is run with sizes" in refused.error.message


async def test_what_cannot_be_evaluated_says_why(store, config):
    nobody = await store.start(BacktestRequest(match="nobody", policies=("constants",)), None)
    wrong = await store.start(BacktestRequest(policies=("no-such-policy",)), None)
    await BacktestRunner(store, config).round()
    first, second = await store.get(nobody), await store.get(wrong)
    assert (first.status, first.error.code) == ("FAILED", "not_found")
    assert "no-such-policy" in second.error.message


async def test_a_cancelled_backtest_is_stopped(store, config):
    run_id = await store.start(CONSTANTS, None)
    runner = BacktestRunner(store, config, lease_seconds=0.3)
    task = asyncio.create_task(runner.round())
    while (await store.get(run_id)).status != "RUNNING":
        await asyncio.sleep(0.02)
    await store.cancel(run_id)
    await asyncio.wait_for(task, 20)
    assert (await store.get(run_id)).status == "CANCELLED"


async def test_plugins_in_a_backtest_get_no_variable_that_settings_may_refer_to(store, config, monkeypatch):
    monkeypatch.setenv("PERFOPT_SERVICE__DATABASE_URL", "canary")
    monkeypatch.setenv("PROMETHEUS_TOKEN", "canary")
    run_id = await store.start(CONSTANTS, None)
    task = asyncio.create_task(BacktestRunner(store, config, lease_seconds=0.3).round())
    while not (
        children := [each for each in psutil.Process().children() if "backtestchild" in command(each)]
    ):
        assert not task.done()
        await asyncio.sleep(0.02)
    assert b"canary" not in Path(f"/proc/{children[0].pid}/environ").read_bytes()
    await store.cancel(run_id)
    await asyncio.wait_for(task, 20)


def command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def test_a_worker_that_stops_gives_its_backtest_back(store, config):
    run_id = await store.start(CONSTANTS, None)
    task = asyncio.create_task(BacktestRunner(store, config).round())
    while (await store.get(run_id)).status != "RUNNING":
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.get(run_id)).status == "QUEUED"
