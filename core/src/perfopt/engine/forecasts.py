"""The forecasts of an analysis: those that a strategy declares, each made when it is first read."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from perfopt.capacity.throughput import total_cores
from perfopt.forecast import InstalledForecasters, calendar_of, forecast_series
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array, TimeGrid, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.forecasting import Forecast, ForecastSpec
from perfopt.plugin.history import running_replicas


class DeclaredForecasts(Mapping[str, Forecast]):
    """Forecasts over the validity by name. A name is present where its series is and can be forecast.

    Args:
        context: of the analysis.
        declared: names of metrics, or what is wanted of one.
        forecasters: that are asked; they read the models of the context.
    """

    def __init__(
        self,
        context: AnalysisContext,
        declared: Sequence[str | ForecastSpec],
        forecasters: InstalledForecasters,
    ) -> None:
        self._context = context
        self._forecasters = forecasters.with_models(context.models)
        self._specs: dict[str, tuple[ForecastSpec, str | None]] = {}
        self._made: dict[str, Forecast | None] = {}
        for one in declared:
            self._specs.update(_named(one, context.snapshot))

    def __getitem__(self, name: str) -> Forecast:
        if name not in self._made:
            spec, container = self._specs[name]
            self._made[name] = self._forecast(spec, container)
        forecast = self._made[name]
        if forecast is None:
            raise KeyError(name)
        return forecast

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._specs if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _forecast(self, spec: ForecastSpec, container: str | None) -> Forecast | None:
        context = self._context
        series = _series(spec, container, context.snapshot)
        if series is None:
            return None
        return forecast_series(
            *series,
            context.validity,
            METRICS[spec.metric].unit,
            spec.levels,
            block=spec.block,
            calendar=calendar_of(context),
            forecasters=self._forecasters,
            names=spec.forecasters,
            past=spec.past,
        )


def _named(
    declared: str | ForecastSpec, snapshot: WorkloadSnapshot
) -> dict[str, tuple[ForecastSpec, str | None]]:
    """Returns what is declared by name in the context, with the container that it is about."""
    if isinstance(declared, ForecastSpec):
        return {declared.name: (declared, min(snapshot.containers, default=None))}
    spec = ForecastSpec(name=declared, metric=declared)
    if METRICS[declared].scope == "workload":
        return {declared: (spec, None)}
    return {f"{container}/{declared}": (spec, container) for container in sorted(snapshot.containers)}


def _series(
    spec: ForecastSpec, container: str | None, snapshot: WorkloadSnapshot
) -> tuple[Array, TimeGrid] | None:
    """Returns the history that a spec is about and its grid; a total begins with its first sample."""
    grid = snapshot.grid
    if spec.of == "total":
        total = total_cores(snapshot, running_replicas(snapshot))
        known = np.flatnonzero(np.isfinite(total))
        begin = int(known[0]) if known.size else total.size
        return total[begin:], TimeGrid(grid.start + begin * grid.step, grid.step, grid.size - begin)
    if METRICS[spec.metric].scope == "workload":
        values = snapshot.service.get(spec.metric)
        return None if values is None else (values, grid)
    pods = None if container is None else snapshot.series(container, spec.metric)
    return None if pods is None else (pods.hottest(), grid)
