"""Batch work on the workers of a Dask cluster. Needs the extra perfopt[dask]."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

from distributed import Client, LocalCluster

from perfopt.batch.errors import ExecutorUnavailableError

ANSWER_SECONDS = 15.0
RETRIES = 3  # of a task; one whose worker ends is run again by another without counting
PER_THREAD = 2  # tasks submitted ahead, so that no worker waits for this machine


@contextmanager
def open_dask(address: str | None, processes: int) -> Iterator[tuple[Executor, int]]:
    """Opens an executor on a cluster; yields it and how many tasks to submit ahead.

    Args:
        address: of the scheduler; None starts a cluster on this machine, on loopback.
        processes: workers of such a cluster.

    Raises:
        ExecutorUnavailableError: nothing answers, there is no worker, or one of another version.
    """
    with ExitStack() as stack:
        if address is None:
            cluster = LocalCluster(  # type: ignore[no-untyped-call]  # its constructor has no types
                n_workers=processes,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(cluster)
            address = cluster.scheduler_address
        client = stack.enter_context(_client(address))
        _check_workers(client, address)
        threads = sum(client.nthreads().values())
        executor = client.get_executor(pure=False, retries=RETRIES)
        stack.callback(executor.shutdown, wait=False)
        yield executor, PER_THREAD * threads


def _client(address: str) -> Client:
    try:
        return Client(address, timeout=ANSWER_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ExecutorUnavailableError(
            f"No Dask scheduler answers at {address.removeprefix('tcp://')}.",
            field="executor",
            remedy="Check the address, and that the scheduler runs and may be reached.",
        ) from error


def _check_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        versions = client.run(version, "perfopt")
    except TimeoutError as error:
        raise ExecutorUnavailableError(
            f"The Dask scheduler at {address} has no worker.",
            field="executor",
            remedy="Start workers where perfopt and its plugins are installed.",
        ) from error
    except ImportError as error:
        raise ExecutorUnavailableError(
            "perfopt is not installed where a Dask worker runs.",
            field="executor",
            remedy="Install the same perfopt and plugins for all workers.",
        ) from error
    ours = version("perfopt")
    for worker, theirs in versions.items():
        if theirs != ours:
            raise ExecutorUnavailableError(
                f"The Dask worker {worker} runs perfopt {theirs}, and this is {ours}.",
                field="executor",
                remedy="Install the same perfopt and plugins for all workers.",
            )
