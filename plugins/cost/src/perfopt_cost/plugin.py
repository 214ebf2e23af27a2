"""The entry point of the package: registers its one strategy."""

from perfopt.plugin import Strategy, hookimpl
from perfopt_cost.strategy import CostStrategy


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the strategies of this plugin."""
    return [CostStrategy()]
