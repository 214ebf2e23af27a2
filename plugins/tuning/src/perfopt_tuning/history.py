"""Statistics of metrics, computed once for all knobs of a workload."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import METRICS, AnalysisContext, Array, InsufficientHistory, check_history

_LATENCIES = (
    (0.5, "latency_p50_ms"),
    (0.9, "latency_p90_ms"),
    (0.95, "latency_p95_ms"),
    (0.99, "latency_p99_ms"),
)


@dataclass(slots=True)
class MetricHistory:
    """The metrics of one context.

    Attributes:
        context: what the strategy was given.
    """

    context: AnalysisContext
    _known: dict[tuple[str, str, str], float | None] = field(default_factory=dict)

    def values(self, container: str, metric: str) -> Array | None:
        """Returns a metric of the hottest pod, shape (grid.size,), or None where the source has none."""
        snapshot = self.context.snapshot
        if METRICS[metric].scope == "workload":
            return snapshot.service.get(metric)
        series = snapshot.series(container, metric)
        return None if series is None else series.hottest()

    def measured(self, container: str, function: str, metric: str) -> float | None:
        """Returns last, p99, peak or mean of a metric.

        What is demand (all but `last`) needs history enough (`perfopt.plugin.check_history`).
        """
        key = container, function, metric
        if key not in self._known:
            values = self.values(container, metric)
            self._known[key] = None if values is None else self._summary(function, values)
        return self._known[key]

    def _summary(self, function: str, values: Array) -> float | None:
        present = np.isfinite(values)
        finite = values[present]
        if not finite.size or (function != "last" and not self._enough(present)):
            return None
        match function:
            case "last":
                return float(finite[-1])
            case "mean":
                return float(finite.mean())
            case "peak":
                return float(finite.max())
            case _:
                return quantile(finite, 0.99)

    def _enough(self, present: NDArray[np.bool_]) -> bool:
        return not isinstance(check_history(self.context, present, "", ""), InsufficientHistory)

    def requests_in_flight(self) -> float | None:
        """Returns L = λW of one replica, its P99 over time (Little 1961); None without rate or latency."""
        key = "", "p99", "requests in flight"
        if key not in self._known:
            self._known[key] = self._in_flight()
        return self._known[key]

    def _in_flight(self) -> float | None:
        service = self.context.snapshot.service
        rate, latency = service.get("requests_per_second"), mean_latency_ms(dict(service))
        replicas = service.get("replicas", self.context.snapshot.workload.state.replicas)
        if rate is None or latency is None or replicas is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            in_flight = np.asarray(rate * latency / 1000 / replicas)
        return self._summary("p99", in_flight)


def mean_latency_ms(service: dict[str, Array]) -> Array | None:
    """Returns the mean latency of each step, from quantiles where the mean was not measured.

    From quantiles the mean is the area under the quantile function: each level counts for what lies
    between it and the one below, so that the result is above the mean rather than below it.
    """
    if "latency_avg_ms" in service:
        return service["latency_avg_ms"]
    below, total = 0.0, None
    for level, name in _LATENCIES:
        if name in service:
            part = (level - below) * service[name]
            total = part if total is None else total + part
            below, last = level, service[name]
    return None if total is None else total + (1 - below) * last


def quantile(finite: Array, level: float) -> float:
    """Returns the smallest value that `level` of the samples do not pass."""
    index = max(math.ceil(level * finite.size - 1e-9) - 1, 0)
    return float(np.partition(finite, index)[index])
