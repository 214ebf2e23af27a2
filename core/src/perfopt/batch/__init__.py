"""Batch work through one port, `concurrent.futures.Executor`: processes of this machine, or a Dask cluster.

What is submitted is a function that can be imported, with arguments and a result that can be pickled. It must
be pure: where the process that runs it ends, it is run again by another.
"""

from perfopt.batch.errors import ExecutorUnavailableError
from perfopt.batch.executors import BatchExecutor, open_executor
from perfopt.batch.process_executor import BatchProcessError, ProcessExecutor

__all__ = [
    "BatchExecutor",
    "BatchProcessError",
    "ExecutorUnavailableError",
    "ProcessExecutor",
    "open_executor",
]
