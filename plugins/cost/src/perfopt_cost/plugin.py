"""The entry point of the package: registers its one strategy, its settings and its model."""

from perfopt.plugin import ModelKind, Strategy, hookimpl
from perfopt_cost.kind import CostKind
from perfopt_cost.settings import CostSettings
from perfopt_cost.strategy import CostStrategy


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the strategies of this plugin."""
    return [CostStrategy()]


@hookimpl
def perfopt_settings() -> type[CostSettings]:
    """Returns the type of this plugin's settings."""
    return CostSettings


@hookimpl
def perfopt_models() -> list[ModelKind]:
    """Returns the kinds of models of this plugin."""
    return [CostKind()]
