"""The entry point of the package: registers its one strategy and the model it sizes by."""

from perfopt.plugin import ModelKind, Strategy, hookimpl
from perfopt_resource.model.kind import SizingKind
from perfopt_resource.settings import ResourceSettings
from perfopt_resource.strategy import ResourceStrategy


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the strategies of this plugin."""
    return [ResourceStrategy()]


@hookimpl
def perfopt_settings() -> type[ResourceSettings]:
    """Returns the type of this plugin's settings."""
    return ResourceSettings


@hookimpl
def perfopt_models() -> list[ModelKind]:
    """Returns the kinds of models of this plugin."""
    return [SizingKind()]
