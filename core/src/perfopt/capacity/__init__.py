"""Capacity models: what a service's latency does at another load or another CPU limit.

`read_history` reads one replica's load and latency from a context; `LatencyModel` is identified from such
production variation (perfopt.capacity.identify) and predicts quantiles; `latency_predictor` applies it to a
service; `fit_usl` is the Universal Scalability Law. docs/reference/latency.md has the
formulas and their sources.
"""

from perfopt.capacity.history import ReplicaHistory, read_history
from perfopt.capacity.identify import NotIdentified, identify
from perfopt.capacity.latency import LatencyModel
from perfopt.capacity.law import LEVELS, ReplicaLoad, ServiceParameters
from perfopt.capacity.observations import GroupedObservations, observe
from perfopt.capacity.predictor import BUSIEST, MARGIN, LatencyPredictor, latency_predictor
from perfopt.capacity.usl import ScalabilityLaw, fit_usl

__all__ = [
    "BUSIEST",
    "LEVELS",
    "MARGIN",
    "GroupedObservations",
    "LatencyModel",
    "LatencyPredictor",
    "NotIdentified",
    "ReplicaHistory",
    "ReplicaLoad",
    "ScalabilityLaw",
    "ServiceParameters",
    "fit_usl",
    "identify",
    "latency_predictor",
    "observe",
    "read_history",
]

# Older names, read until the next minor version.
History = ReplicaHistory
Load = ReplicaLoad
Observations = GroupedObservations
Outlook = LatencyPredictor
Scalability = ScalabilityLaw
Service = ServiceParameters
outlook = latency_predictor
