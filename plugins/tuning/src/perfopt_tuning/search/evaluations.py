"""The evaluations in a history: stretches in which a knob had different values, at comparable load."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array
from perfopt_tuning.history import MetricHistory, quantile

Flags = NDArray[np.bool_]

BUSY_QUANTILE = 0.9
COMPARABLE_LOAD = 0.25
MIN_SAMPLES = 12
MIN_NOISE = 0.02
"""Standard deviation of a logarithm below which no mean latency of a stretch is trusted."""
_CORRELATED = 6.0
"""Samples that count as one: neighbouring steps share their load and their neighbours on the node."""
_SIGNIFICANT = 3


@dataclass(frozen=True, slots=True)
class KnobEvaluation:
    """A value of a knob and the latency measured under it.

    Attributes:
        value: of the knob.
        log_latency: mean logarithm of the P99 latency in ms, at comparable load.
        noise: standard deviation of that mean.
        samples: steps that it is the mean of.
    """

    value: float
    log_latency: float
    noise: float
    samples: int


def evaluations_of(history: MetricHistory, container: str, metric: str) -> list[KnobEvaluation]:
    """Returns one evaluation for each value that a knob had, in the order of the values.

    Load is comparable within a quarter of the busy load, the P90 of the requests a second that a replica
    had; without a rate all steps count. Values are told apart by three significant digits.

    Args:
        history: the metrics.
        container: whose knob it is.
        metric: that recorded the knob.
    """
    service = history.context.snapshot.service
    values, latency = history.values(container, metric), service.get("latency_p99_ms")
    if values is None or latency is None:
        return []
    counts = np.isfinite(values) & np.isfinite(latency) & (latency > 0) & (values > 0)
    counts &= _comparable(service)
    rounded = np.array([float(f"{value:.{_SIGNIFICANT}g}") for value in np.unique(values[counts])])
    evaluations = []
    for value in np.unique(rounded):
        near = counts & (np.abs(values / value - 1) <= 0.5 * 10.0 ** (1 - _SIGNIFICANT))
        if np.count_nonzero(near) >= MIN_SAMPLES:
            evaluations.append(_evaluation(float(value), np.log(latency[near])))
    return evaluations


def _comparable(service: Mapping[str, Array]) -> Flags:
    """Returns which steps had a load near the busy one."""
    rate = service.get("requests_per_second")
    if rate is None or not np.isfinite(rate).any():
        return np.ones(1, dtype=np.bool_)
    replicas = service.get("replicas")
    with np.errstate(divide="ignore", invalid="ignore"):
        load = rate if replicas is None else rate / replicas
        finite = load[np.isfinite(load)]
        busy = quantile(finite, BUSY_QUANTILE) if finite.size else math.nan
        near: Flags = np.abs(load / busy - 1) <= COMPARABLE_LOAD
    return near


def _evaluation(value: float, logs: Array) -> KnobEvaluation:
    independent = max(logs.size / _CORRELATED, 1.0)
    noise = max(float(logs.std()) / math.sqrt(independent), MIN_NOISE)
    return KnobEvaluation(value, float(logs.mean()), noise, int(logs.size))
