"""The entry point of the package: registers its one strategy."""

from perfopt.plugin import Strategy, hookimpl
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
