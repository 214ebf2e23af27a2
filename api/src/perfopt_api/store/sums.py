"""What adds up very many rows: read in the background, so that no page waits for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import text

from perfopt.errors import PerfoptError

type Rows = tuple[Mapping[str, Any], ...]

KEPT_SECONDS = 60.0
FIRST_SECONDS = 0.1
"""That a caller waits for what was never read before."""

HARM = text("""
SELECT count(*) AS days, count(*) FILTER (WHERE unsafe) AS unsafe,
       count(DISTINCT workload) FILTER (WHERE unsafe) AS workloads
FROM service_days WHERE day > current_date - 30
""")
# Outcomes of 13 weeks by strategy, class and week, in one scan.
RECORDED = text("""
WITH scored AS (
  SELECT coalesce(strategy, '') AS strategy, coalesce(service_class, '') AS class,
         date_trunc('week', scored_at AT TIME ZONE 'UTC') AS week,
         currency, stated, accurate, saving, applied
  FROM recommendation_outcomes
  WHERE status = 'scored' AND accurate IS NOT NULL AND scored_at > now() - interval '13 weeks'
)
SELECT CASE WHEN grouping(strategy) = 0 THEN 'strategy'
            WHEN grouping(class) = 0 THEN 'service class' ELSE 'week' END AS grouped,
       coalesce(strategy, class, to_char(week, 'YYYY-MM-DD')) AS name,
       currency, count(*) AS scored, count(*) FILTER (WHERE applied) AS applied,
       avg(accurate::int)::float AS accuracy, avg(stated) AS stated,
       sum(saving) AS expected, coalesce(sum(saving) FILTER (WHERE accurate), 0) AS realised
FROM scored GROUP BY GROUPING SETS ((strategy, currency), (class, currency), (week, currency))
ORDER BY name DESC, currency LIMIT 300
""")
BINS = text("""
WITH binned AS (
  SELECT stated, accurate::int AS hit, ntile(10) OVER (ORDER BY stated) AS bin
  FROM recommendation_outcomes
  WHERE status = 'scored' AND accurate IS NOT NULL AND stated IS NOT NULL
    AND scored_at > now() - interval '13 weeks'
)
SELECT count(*) AS scored, avg(stated)::float AS stated, avg(hit)::float AS accuracy
FROM binned GROUP BY bin ORDER BY bin
""")
_log = structlog.get_logger(__name__)


class BackgroundSums:
    """Rows of slow queries, at most KEPT_SECONDS old when a reading of them begins.

    A caller gets what is kept, and begins a new reading where that is old. One query runs at a time.

    Args:
        read: runs a query.
        clock: monotonic seconds.
    """

    def __init__(
        self, read: Callable[[Any], Awaitable[Rows]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._kept: dict[str, tuple[float, Rows]] = {}
        self._readings: dict[str, asyncio.Task[Rows]] = {}
        self._turn = asyncio.Semaphore(1)

    async def rows(self, name: str, query: Any) -> Rows | None:
        """Returns the rows of a query as they were last read; None while they are read for the first time.

        Raises:
            UnavailableError: the first reading failed.
        """
        cached = self._kept.get(name)
        if cached is not None and self._clock() - cached[0] <= KEPT_SECONDS:
            return cached[1]
        reading = self._begin(name, query)
        if cached is not None:
            return cached[1]
        done, _ = await asyncio.wait({reading}, timeout=FIRST_SECONDS)
        return reading.result() if done else None

    def _begin(self, name: str, query: Any) -> "asyncio.Task[Rows]":
        """Returns the reading that is under way, or begins one."""
        if name not in self._readings:
            reading = asyncio.create_task(self._renew(name, query), name=f"sum of {name}")
            reading.add_done_callback(lambda task: self._ended(name, task))
            self._readings[name] = reading
        return self._readings[name]

    async def _renew(self, name: str, query: Any) -> Rows:
        async with self._turn:
            rows = await self._read(query)
        self._kept[name] = self._clock(), rows
        return rows

    def _ended(self, name: str, reading: "asyncio.Task[Rows]") -> None:
        del self._readings[name]
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            known = isinstance(error, PerfoptError)
            _log.warning("A sum was not read", sum=name, error=str(error), exc_info=None if known else error)

    async def close(self) -> None:
        """Ends what is being read."""
        readings = tuple(self._readings.values())
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)
