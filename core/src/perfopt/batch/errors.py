"""Errors of executors."""

from perfopt.errors import PerfoptError


class ExecutorUnavailableError(PerfoptError):
    """The executor that was named can't be used now: it is not installed, or nothing answers there."""

    code = "executor_unavailable"
