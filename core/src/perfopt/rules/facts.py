"""What expressions read: a proposal, the workload, its history, forecasts and calendar at one instant."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np

from perfopt.domain.fields import QUANTITY_OF_NAME
from perfopt.domain.limits import ContainerHeadroom, room
from perfopt.domain.workload import Container, Workload, WorkloadState
from perfopt.forecast import calendar_of, forecast_metric
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext, Sessions
from perfopt.plugin.forecasting import Forecast
from perfopt.plugin.strategy import Proposal

_FIELDS = tuple(QUANTITY_OF_NAME.items())
_OTHER_FIELDS = ("replicas", "hpa", "vpa_mode", "keda")


class HistoryFigures:
    """Figures of a history, each computed once."""

    def __init__(self, snapshot: WorkloadSnapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[Any, float | None] = {}

    @cached_property
    def days(self) -> float:
        """Days from the first sample of use of any container to the end."""
        grid, first = self._snapshot.grid, self._snapshot.grid.size
        for metrics in self._snapshot.containers.values():
            for name in ("cpu_cores", "memory_bytes"):
                if name in metrics:
                    present = np.isfinite(metrics[name].values).any(axis=0)
                    first = min(first, int(present.argmax()) if present.any() else first)
        return (grid.size - first) * grid.step / timedelta(days=1)

    @cached_property
    def coverage(self) -> float:
        """Smallest share of samples there, over CPU and memory; 0 where nothing was measured."""
        shares = [
            share.fraction
            for name, share in self._snapshot.coverage.items()
            if name.rpartition("/")[2] in ("cpu_cores", "memory_bytes")
        ]
        return min(shares, default=0.0)

    def quantile(self, container: str, metric: str, level: float) -> float | None:
        """Returns a quantile over time of the hottest pod."""
        key = (container, metric, level)
        if key not in self._known:
            series = self._snapshot.series(container, metric)
            self._known[key] = None if series is None else _quantile(series.hottest(), level)
        return self._known[key]

    def service_quantile(self, metric: str, level: float) -> float | None:
        """Returns a quantile over time of a workload's metric."""
        values = self._snapshot.service.get(metric)
        return None if values is None else _quantile(values, level)

    def peak(self, container: str, metric: str, hours: float | None) -> float | None:
        """Returns the largest sample of any pod in the last hours, or in the whole history."""
        key = (container, metric, "peak", hours)
        if key not in self._known:
            self._known[key] = self._peak(container, metric, hours)
        return self._known[key]

    def _peak(self, container: str, metric: str, hours: float | None) -> float | None:
        series = self._snapshot.series(container, metric)
        if series is None:
            return None
        grid = self._snapshot.grid
        begin = 0 if hours is None else grid.index(grid.end - timedelta(hours=hours))
        recent = series.values[:, begin:]
        largest = float(np.fmax.reduce(recent, axis=None)) if recent.size else np.nan
        return largest if np.isfinite(largest) else None

    def total(self, metric: str) -> float | None:
        """Sums a metric over pods, containers and time."""
        amounts = [
            metrics[metric].values for metrics in self._snapshot.containers.values() if metric in metrics
        ]
        return float(sum(np.nansum(values) for values in amounts)) if amounts else None


def _quantile(values: Array, level: float) -> float | None:
    present = values[np.isfinite(values)]
    return float(np.quantile(present, level)) if present.size else None


@dataclass
class RuleFacts:
    """All that an expression may read. The target and the container move on as rules are tried.

    Attributes:
        context: what the strategy was given.
        proposal: None before the strategy was asked.
        target: the proposed state so far.
        container: the one a rule is tried for, as proposed so far.
        exchange: whose sessions `calendar` speaks of, from the pack's parameter of that name.
        clusters: name of a cluster to its labels, from the configuration.
    """

    context: AnalysisContext
    proposal: Proposal | None
    clusters: Mapping[str, Mapping[str, str]]
    target: WorkloadState = field(init=False)
    container: Container = field(init=False)
    exchange: str | None = None

    def __post_init__(self) -> None:
        self.workload: Workload = self.context.snapshot.workload
        self.current = self.workload.state
        self.target = self.current if self.proposal is None else self.proposal.target
        self.history = HistoryFigures(self.context.snapshot)
        self._forecasts: dict[str, Forecast | None] = {}

    @property
    def latency_ms(self) -> float | None:
        """The latency that the proposal claims, if it does."""
        return None if self.proposal is None else self.proposal.claim.latency_ms

    @property
    def optimization_type(self) -> str | None:
        """What kind of proposal it is."""
        return None if self.proposal is None else self.proposal.optimization_type.value

    @property
    def slo_latency_ms(self) -> float | None:
        """The latency objective, if the workload has one."""
        return None if self.workload.slo is None else self.workload.slo.latency_ms

    def room(self, resource: str) -> ContainerHeadroom:
        """Returns what the cluster leaves the container of "cpu" or "memory"."""
        unit = "cpu_{}_cores" if resource == "cpu" else "memory_{}_bytes"
        request, bound = unit.format("request"), unit.format("limit")
        others = [c for c in self.target.containers if c.name != self.container.name]
        now = self.current.container(self.container.name)
        return room(
            self.workload.limits,
            resource,
            others=sum(getattr(container, request) or 0.0 for container in others),
            containers=len(self.target.containers),
            replicas=self.target.replicas or 1,
            request=None if now is None else getattr(now, request),
            limit=None if now is None else getattr(now, bound),
            target_limit=getattr(self.container, bound),
        )

    @property
    def cluster_labels(self) -> Mapping[str, str]:
        """What the configuration says of the workload's cluster."""
        return self.clusters.get(self.workload.id.cluster, {})

    @property
    def changed(self) -> list[str]:
        """Names of the state map's keys that the target changes."""
        old, new = self.current, self.target
        names = [
            name
            for name, attribute in _FIELDS
            if any(_get(old.container(c.name), attribute) != getattr(c, attribute) for c in new.containers)
        ]
        names += [name for name in _OTHER_FIELDS if getattr(old, name) != getattr(new, name)]
        keys = sorted(old.extra.keys() | new.extra.keys())
        return names + [key for key in keys if old.extra.get(key) != new.extra.get(key)]

    @property
    def current_container(self) -> Container | None:
        """The container as it is now."""
        return self.current.container(self.container.name)

    @property
    def container_changed(self) -> list[str]:
        """Names of the container's quantities that the target changes."""
        old = self.current_container
        return [name for name, at in _FIELDS if _get(old, at) != getattr(self.container, at)]

    @property
    def _sessions(self) -> Sessions | None:
        return None if self.exchange is None else self.context.sessions.get(self.exchange)

    @property
    def market_open(self) -> bool | None:
        """Whether the exchange is open; None where its sessions are not known."""
        sessions = self._sessions
        if not sessions:
            return None
        number = bisect_right(sessions, (self.context.now, self.context.now)) - 1
        return number >= 0 and sessions[number][0] <= self.context.now < sessions[number][1]

    @property
    def hours_to_open(self) -> float | None:
        """Hours until the exchange next opens, 0 while it is open; None where that is not known."""
        if self.market_open is not False:
            return None if self.market_open is None else 0.0
        later = [opened for opened, _ in self._sessions or () if opened >= self.context.now]
        return (later[0] - self.context.now) / timedelta(hours=1) if later else None

    def forecast_peak(self, name: str, level: float) -> float | None:
        """Returns the highest value of a quantile over the validity.

        Args:
            name: "container/metric", or "metric" of the workload.
            level: of the quantile.
        """
        if name not in self._forecasts:
            self._forecasts[name] = self._forecast(name)
        forecast = self._forecasts[name]
        if forecast is None or level not in forecast.levels:
            return None
        return float(forecast.values[forecast.levels.index(level)].max())

    def _forecast(self, name: str) -> Forecast | None:
        declared = self.context.forecasts.get(name)
        if declared is not None:
            return declared
        snapshot = self.context.snapshot
        container, _, metric = name.rpartition("/")
        series = snapshot.series(container, metric) if container else None
        values = snapshot.service.get(metric) if not container else None
        if series is not None:
            values = series.hottest()
        if values is None:
            return None
        calendar = calendar_of(self.context)
        unit = METRICS[metric].unit
        return forecast_metric(values, snapshot.grid, self.context.validity, unit, calendar=calendar)


def _get(container: Container | None, attribute: str) -> Any:
    return None if container is None else getattr(container, attribute)
