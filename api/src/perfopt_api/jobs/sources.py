"""Answers requests from the configured metric sources, each opened once."""

import asyncio
from collections import defaultdict

from perfopt.analysis import analyze_request
from perfopt.config import Config
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.engine import Engine
from perfopt.errors import NotFoundError
from perfopt.sources.base import MetricSource
from perfopt.sources.factory import open_source
from perfopt_api.telemetry import timed


class SourceAnalyzer:
    """Implements perfopt_api.jobs.execution.Analyse.

    Args:
        config: names the metric sources.
        engine: runs the strategies.
    """

    def __init__(self, config: Config, engine: Engine) -> None:
        self._config = config
        self._engine = engine
        self._sources: dict[str | None, MetricSource] = {}
        self._opening: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(self, request: PerformanceAnalysisRequest) -> AnalysisResult:
        """Analyses a workload of the source that the request names, or of the default one.

        Raises:
            NotFoundError: no source of that name is configured: a request never carries a URL or a path.
        """
        return await analyze_request(request, await self.source(request.source), self._engine, timed)

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

    async def close(self) -> None:
        """Closes what was opened."""
        for source in self._sources.values():
            await source.close()
