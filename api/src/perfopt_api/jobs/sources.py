"""Answers requests from the configured metric sources, each opened once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime

from perfopt.analysis import AnalysisWindow, analyze_request, analyze_workloads
from perfopt.config import Config
from perfopt.domain.period import AnalysisPeriod, parse_validity
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest, requested_types
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.errors import NotFoundError, PerfoptError
from perfopt.sources.base import MetricSource
from perfopt.sources.factory import open_source
from perfopt.sources.prometheus.days import DayStore
from perfopt_api.telemetry import timed


class SourceAnalyzer:
    """Implements perfopt_api.jobs.execution.Analyse and perfopt_api.jobs.fleet.FleetAnalyzer.

    Args:
        config: names the metric sources.
        engine: runs the strategies.

    Attributes:
        days: keeps what fleets read of each day; None has them read all of a period each time.
    """

    def __init__(self, config: Config, engine: Engine) -> None:
        self.days: DayStore | None = None
        self._config = config
        self._engine = engine
        self._sources: dict[str | None, MetricSource] = {}
        self._by_day: dict[str | None, MetricSource] = {}
        self._opening: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(self, request: PerformanceAnalysisRequest) -> AnalysisResult:
        """Analyses a workload of the source that the request names, or of the default one.

        Raises:
            NotFoundError: no source of that name is configured: a request never carries a URL or a path.
        """
        return await analyze_request(request, await self.source(request.source), self._engine, timed)

    async def inventory(self, request: FleetAnalysisRequest) -> tuple[datetime, tuple[Workload, ...]]:
        """See perfopt_api.jobs.fleet.FleetAnalyzer."""
        source = await self._daily(request.source)
        end = AnalysisPeriod.parse(request.analysis_period).end or await source.latest()
        return end, await source.inventory(end)

    async def analyses(
        self, request: FleetAnalysisRequest, end: datetime, names: Sequence[str]
    ) -> AsyncGenerator[AnalysisResult | tuple[Workload, PerfoptError]]:
        """See perfopt_api.jobs.fleet.FleetAnalyzer."""
        source = await self._daily(request.source)
        known = {str(workload.id): workload for workload in await source.inventory(end)}
        start = end - AnalysisPeriod.parse(request.analysis_period).length
        window = AnalysisWindow(
            start,
            end,
            parse_validity(request.validity),
            requested_types(request),
            request.include_predictions,
        )
        chosen = [known[name] for name in names if name in known]
        concurrency = self._engine.processes + 1  # one waits while the rest run
        async with aclosing(analyze_workloads(source, self._engine, chosen, window, concurrency)) as answers:
            async for answer in answers:
                yield answer

    async def source(self, name: str | None) -> MetricSource:
        """Returns a configured source, or the default one; it stays open.

        Raises:
            NotFoundError: no source of that name is configured.
        """
        if name is not None and name not in self._config.sources:
            raise NotFoundError(
                f"No metric source is called {name!r}.",
                field="source",
                candidates=tuple(self._config.sources),
            )
        async with self._opening[name]:
            if name not in self._sources:
                self._sources[name] = await asyncio.to_thread(open_source, name, self._config)
        return self._sources[name]

    async def _daily(self, name: str | None) -> MetricSource:
        """Returns a source that reads days which are kept from there; it stays open."""
        if self.days is None:
            return await self.source(name)
        async with self._opening[name]:
            if name not in self._by_day:
                self._by_day[name] = await asyncio.to_thread(open_source, name, self._config, days=self.days)
        return self._by_day[name]

    async def close(self) -> None:
        """Closes what was opened."""
        for source in (*self._sources.values(), *self._by_day.values()):
            await source.close()
