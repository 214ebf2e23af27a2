"""Replays horizontal scaling: a world of one-minute steps, the autoscaler's own loop, and policies."""

from perfopt.autoscaling.behavior import Behavior
from perfopt.autoscaling.loop import Settings, run_loop
from perfopt.autoscaling.predictive import VIOLATION_PENALTIES, forecast_demand, predictive
from perfopt.autoscaling.world import Outcome, Replicas, World, measure, measure_ready

__all__ = [
    "VIOLATION_PENALTIES",
    "Behavior",
    "Outcome",
    "Replicas",
    "Settings",
    "World",
    "forecast_demand",
    "measure",
    "measure_ready",
    "predictive",
    "run_loop",
]
