"""Replays horizontal scaling: a world of one-minute steps, the autoscaler's own loop, and policies."""

from perfopt.autoscaling.behavior import Behavior
from perfopt.autoscaling.loop import AutoscalerSettings, run_loop
from perfopt.autoscaling.predictive import VIOLATION_PENALTIES, forecast_demand, predictive
from perfopt.autoscaling.world import Replicas, SimulatedDemand, SimulationOutcome, measure, measure_ready

__all__ = [
    "VIOLATION_PENALTIES",
    "AutoscalerSettings",
    "Behavior",
    "Replicas",
    "SimulatedDemand",
    "SimulationOutcome",
    "forecast_demand",
    "measure",
    "measure_ready",
    "predictive",
    "run_loop",
]
