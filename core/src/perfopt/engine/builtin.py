"""The plugin that perfopt brings itself, registered as an installed one is: its own kinds of models."""

from perfopt.capacity.kind import LatencyKind
from perfopt.plugin.hookspecs import hookimpl
from perfopt.plugin.models import ModelKind


@hookimpl
def perfopt_models() -> list[ModelKind]:
    """Returns the kinds of models of the engine."""
    return [LatencyKind()]
