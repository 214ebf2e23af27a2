"""Runs replicas for the peak of the history, as a plugin of perfopt."""

from peak_replicas.strategy import PeakReplicas
from perfopt.plugin import Strategy, hookimpl


@hookimpl
def perfopt_strategies() -> list[Strategy]:
    """Returns the one strategy there is."""
    return [PeakReplicas()]
