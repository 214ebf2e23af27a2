"""Sizes connection pools by Little's law, as a plugin of perfopt."""

from pathlib import Path

from perfopt.plugin import Forecaster, Strategy, hookimpl
from pool_sizer.forecaster import LastWeek
from pool_sizer.settings import PoolSizerSettings
from pool_sizer.strategy import PoolSizer


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the one strategy there is."""
    return [PoolSizer()]


@hookimpl
def perfopt_forecasters() -> list[Forecaster]:
    """Returns the one forecaster there is."""
    return [LastWeek()]


@hookimpl
def perfopt_settings() -> type[PoolSizerSettings]:
    """Returns the type of this plugin's settings."""
    return PoolSizerSettings


@hookimpl
def perfopt_rule_packs() -> list[Path]:
    """Returns the one rule pack there is."""
    return [Path(__file__).with_name("pools.yaml")]
