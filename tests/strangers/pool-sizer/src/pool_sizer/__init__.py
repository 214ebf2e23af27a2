"""Sizes connection pools by Little's law, as a plugin of perfopt."""

from perfopt.plugin import Strategy, hookimpl
from pool_sizer.strategy import PoolSizer


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the one strategy there is."""
    return [PoolSizer()]
