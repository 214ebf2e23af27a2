import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import batch_tasks
import pytest
from click.testing import CliRunner

from perfopt.batch import (
    BatchExecutor,
    BatchProcessError,
    ExecutorUnavailableError,
    ProcessExecutor,
    open_executor,
)
from perfopt.cli.main import cli
from perfopt.errors import InvalidInputError, PerfoptError

EVERYWHERE = pytest.mark.parametrize("where", ["processes", "dask://local"])


@EVERYWHERE
def test_tasks_run_in_other_processes_and_survive_the_death_of_one_midway(where, tmp_path):
    with open_executor(where, 2) as batch:
        futures = [batch.executor.submit(batch_tasks.square_when_allowed, n, tmp_path) for n in range(6)]
        victim = _began(tmp_path)
        assert victim != os.getpid()
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "go").touch()
        assert [future.result(60) for future in futures] == [0, 1, 4, 9, 16, 25]


def _began(folder):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("began-*"):
            return int(path.name.rpartition("-")[2])
        time.sleep(0.01)
    pytest.fail("no task began")


@EVERYWHERE
def test_an_error_of_a_task_is_raised_as_it_was(where):
    with open_executor(where, 1) as batch, pytest.raises(InvalidInputError) as raised:
        batch.executor.submit(batch_tasks.fail, "too large").result(60)
    assert (raised.value.message, raised.value.field, raised.value.remedy) == (
        "too large",
        "number",
        "Give another.",
    )


def test_map_keeps_the_order_and_reads_items_only_as_they_are_needed():
    read = []

    def items():
        for number in range(6):
            read.append(number)
            yield number

    with ThreadPoolExecutor(2) as threads:
        results = BatchExecutor(threads, 2).map(batch_tasks.square, items())
        assert next(results) == 0
        assert read == [0, 1]
        assert list(results) == [1, 4, 9, 16, 25]


def test_processes_are_used_again():
    with open_executor("processes", 1) as batch:
        pids = {batch.executor.submit(batch_tasks.process_id, 0).result(60) for _ in range(3)}
    assert len(pids) == 1


def test_a_task_that_ends_its_process_each_time_fails_with_the_reason():
    with open_executor("processes", 1) as batch, pytest.raises(BatchProcessError, match="exit code 3"):
        batch.executor.submit(batch_tasks.end_process, 0).result(60)


def test_a_task_over_its_deadline_fails_and_others_go_on(tmp_path):
    executor = ProcessExecutor(1, deadline_seconds=4)
    with pytest.raises(BatchProcessError, match=r"longer than 4 s"):
        executor.submit(batch_tasks.square_when_allowed, 1, tmp_path).result(60)
    (tmp_path / "go").touch()
    assert executor.submit(batch_tasks.square, 3).result(60) == 9
    executor.shutdown()


def test_an_error_that_cannot_be_pickled_is_told_in_words():
    with open_executor("processes", 1) as batch, pytest.raises(PerfoptError, match="raised LocalError: here"):
        batch.executor.submit(batch_tasks.fail_with_what_cannot_be_pickled, 0).result(60)


def test_closing_gives_up_tasks_that_run(tmp_path):
    with open_executor("processes", 1) as batch:
        future = batch.executor.submit(batch_tasks.square_when_allowed, 1, tmp_path)
        victim = _began(tmp_path)
    assert future.exception(30) is not None
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)


@pytest.mark.parametrize("where", ["threads", "dask://", "http://x:1"])
def test_what_is_no_executor_is_refused(where):
    with pytest.raises(InvalidInputError, match="no executor"), open_executor(where, 1):
        pass


def test_a_scheduler_that_does_not_answer_is_named():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        unreachable = pytest.raises(ExecutorUnavailableError, match=f"No Dask scheduler answers at {address}")
        with unreachable, open_executor(f"dask://{address}", 1):
            pass


def test_a_scheduler_without_workers_is_named():
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(ExecutorUnavailableError, match="has no worker"),
        open_executor(cluster.scheduler_address.replace("tcp", "dask"), 1),
    ):
        pass


def test_a_backtest_by_dask_prints_the_bytes_of_the_process_pool(pytestconfig):
    data = pytestconfig.rootpath / "core/tests/data/bitbrains_three_vms.parquet"
    asked = ["backtest", "--source", str(data), "--all", "--history", "7d", "--validity", "3d"]
    asked += ["--policy", "perfopt", "--policy", "vpa", "--origins", "1", "--format", "json"]
    pool, dask = (
        CliRunner().invoke(cli, [*asked, "--executor", where]) for where in ("processes", "dask://local")
    )
    assert pool.exit_code == 0, pool.stderr
    assert dask.exit_code == 0, dask.stderr
    assert dask.stdout == pool.stdout
