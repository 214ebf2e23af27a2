"""The plugin that perfopt brings itself, registered as an installed one is: models, forecasters, settings."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.capacity.kind import LatencyKind
from perfopt.config.describe import SettingsFile
from perfopt.forecast import BUILT_IN
from perfopt.forecast.kind import ForecastKind
from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.hookspecs import hookimpl
from perfopt.plugin.models import ModelKind


class EngineModels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of `perfopt` itself: models in place of the shipped ones.

    Attributes:
        forecast_model: network of the forecaster `fleet` that `perfopt train --what forecast` wrote.
        latency_model: latency under a CPU quota that `perfopt train --what latency` wrote.
    """

    forecast_model: Annotated[SettingsFile | None, Meta(extra={"model": "forecast"})] = None
    latency_model: Annotated[SettingsFile | None, Meta(extra={"model": "latency"})] = None


@hookimpl
def perfopt_models() -> list[ModelKind]:
    """Returns the kinds of models of the engine."""
    return [ForecastKind(), LatencyKind()]


@hookimpl
def perfopt_forecasters() -> list[Forecaster]:
    """Returns the forecasters of the engine."""
    return list(BUILT_IN)


@hookimpl
def perfopt_settings() -> type[EngineModels]:
    """Returns the type of the engine's settings as a plugin."""
    return EngineModels
