"""Replays horizontal scaling: a world of one-minute steps, the autoscaler's own loop, and policies."""

from perfopt.replay.autoscale.behavior import Behavior
from perfopt.replay.autoscale.loop import Settings, run_loop
from perfopt.replay.autoscale.predictive import SHORTAGE_PRICES, foretell, predictive
from perfopt.replay.autoscale.world import Outcome, Replicas, World, measure, measure_ready

__all__ = [
    "SHORTAGE_PRICES",
    "Behavior",
    "Outcome",
    "Replicas",
    "Settings",
    "World",
    "foretell",
    "measure",
    "measure_ready",
    "predictive",
    "run_loop",
]
