"""Days of workloads on PostgreSQL, see perfopt.sources.prometheus.days."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

import structlog
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from perfopt.errors import UnavailableError
from perfopt_api.store.database import Database
from perfopt_api.store.tables import workload_days

_ROWS = 200  # of a statement: some megabytes
_log = structlog.get_logger(__name__)


class PostgresDays:
    """Implements perfopt.sources.prometheus.days.DayStore. Without PostgreSQL all is read anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitioned: set[date] = set()

    async def load(
        self, source: str, workloads: Sequence[str], days: Sequence[date]
    ) -> Mapping[tuple[str, date], bytes]:
        """See DayStore.load."""
        table = workload_days
        query = select(table.c.workload, table.c.day, table.c.content).where(
            table.c.source == _digest(source), table.c.workload.in_(workloads), table.c.day.in_(days)
        )
        try:
            async with self._database.reading() as connection:
                rows = (await connection.execute(query)).all()
        except UnavailableError as error:
            _log.warning("days_not_loaded", reason=error.message)
            return {}
        return {(row.workload, row.day): row.content for row in rows}

    async def _own_partitions(self, days: Collection[date]) -> None:
        """Creates the partitions of days. Without one, a day's rows are in the default partition."""
        for day in sorted({*days} - self._partitioned):
            self._partitioned.add(day)
            statement = (
                f"CREATE TABLE IF NOT EXISTS {partition_of(day)} PARTITION OF workload_days"
                f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                    await connection.execute(text(statement))
            except DBAPIError as error:
                _log.info("day_not_partitioned", day=str(day), reason=str(error.orig).splitlines()[0])

    async def save(self, source: str, content: Mapping[tuple[str, date], bytes]) -> None:
        """See DayStore.save."""
        rows = [
            {"source": _digest(source), "workload": workload, "day": day, "content": raw}
            for (workload, day), raw in sorted(content.items())
        ]
        try:
            await self._own_partitions({day for _, day in content})
            for first in range(0, len(rows), _ROWS):
                statement = insert(workload_days).values(rows[first : first + _ROWS])
                replaced = statement.on_conflict_do_update(
                    index_elements=["source", "workload", "day"],
                    set_={"content": statement.excluded.content},
                )
                async with self._database.transaction() as connection:
                    await connection.execute(replaced)
        except UnavailableError as error:
            _log.warning("days_not_saved", reason=error.message)


def partition_of(day: date) -> str:
    """Returns the name of a day's partition."""
    return f"workload_days_{day:%Y%m%d}"


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()
