"""Capacity models: what a service's latency does at another load or another CPU limit.

`read_history` reads one replica's load and latency from a context; `LatencyModel` is identified from such
production variation (perfopt.capacity.identify) and predicts quantiles; `outlook` asks it about a service;
`fit_usl` is the Universal Scalability Law. docs/reference/latency.md has the formulas and their sources.
"""

from perfopt.capacity.history import History, read_history
from perfopt.capacity.identify import NotIdentified, identify
from perfopt.capacity.latency import LatencyModel
from perfopt.capacity.law import LEVELS, Load, Service
from perfopt.capacity.observations import Observations, observe
from perfopt.capacity.outlook import BUSIEST, MARGIN, Outlook, outlook
from perfopt.capacity.usl import Scalability, fit_usl

__all__ = [
    "BUSIEST",
    "LEVELS",
    "MARGIN",
    "History",
    "LatencyModel",
    "Load",
    "NotIdentified",
    "Observations",
    "Outlook",
    "Scalability",
    "Service",
    "fit_usl",
    "identify",
    "observe",
    "outlook",
    "read_history",
]
