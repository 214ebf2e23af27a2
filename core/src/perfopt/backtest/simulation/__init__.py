"""Compares policies of horizontal scaling on the demand of services, minute by minute."""

from perfopt.backtest.simulation.autoscalers import choose_autoscalers
from perfopt.backtest.simulation.report import SimulationResult, summarise_simulation
from perfopt.backtest.simulation.run import ServiceSimulation, run_service

__all__ = [
    "ServiceSimulation",
    "SimulationResult",
    "choose_autoscalers",
    "run_service",
    "summarise_simulation",
]
