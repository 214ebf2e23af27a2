"""The plugin that perfopt brings itself, registered as an installed one is: kinds of models, forecasters."""

from perfopt.capacity.kind import LatencyKind
from perfopt.forecast import BUILT_IN
from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.hookspecs import hookimpl
from perfopt.plugin.models import ModelKind


@hookimpl
def perfopt_models() -> list[ModelKind]:
    """Returns the kinds of models of the engine."""
    return [LatencyKind()]


@hookimpl
def perfopt_forecasters() -> list[Forecaster]:
    """Returns the forecasters of the engine."""
    return list(BUILT_IN)
