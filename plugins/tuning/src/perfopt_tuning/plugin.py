"""The plugin as perfopt finds it."""

from perfopt.plugin import Strategy, hookimpl
from perfopt_tuning.settings import TuningSettings
from perfopt_tuning.strategy import KnobTuning


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the one strategy there is."""
    return [KnobTuning()]


@hookimpl
def perfopt_settings() -> type[TuningSettings]:
    """Returns the type of this plugin's settings."""
    return TuningSettings
