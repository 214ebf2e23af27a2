"""Capacity models: what a service's latency does at another load or another CPU limit.

`LatencyModel` is identified from production variation (perfopt.capacity.identify) and predicts quantiles;
`fit_usl` is the Universal Scalability Law. docs/reference/latency.md has the formulas and their sources.
"""

from perfopt.capacity.identify import NotIdentified, identify
from perfopt.capacity.latency import LatencyModel
from perfopt.capacity.law import LEVELS, Load, Service
from perfopt.capacity.observations import Observations, observe
from perfopt.capacity.usl import Scalability, fit_usl

__all__ = [
    "LEVELS",
    "LatencyModel",
    "Load",
    "NotIdentified",
    "Observations",
    "Scalability",
    "Service",
    "fit_usl",
    "identify",
    "observe",
]
