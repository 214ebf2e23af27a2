"""Shows what waits as metrics. Every worker does, so that each scrape has them: take the maximum of them."""

from perfopt_api.store.backlog import HEAVY, PostgresBacklog
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import JOBS_RUNNING, JOBS_WAITING, OLDEST_JOB, OUTBOX_EVENTS, OUTBOX_LAG


class BacklogTask(BackgroundTask):
    """Sets the gauges of the queue and the outbox.

    Args:
        store: counts.
    """

    name = "backlog"
    pause_seconds = 10.0

    def __init__(self, store: PostgresBacklog) -> None:
        self._store = store

    async def round(self) -> None:
        """Counts once."""
        measured = await self._store.read()
        for job_class, backlog in measured.jobs.items():
            label = job_class.name.lower()
            JOBS_WAITING.labels(label).set(backlog.waiting)
            JOBS_RUNNING.labels(label).set(backlog.running)
            OLDEST_JOB.labels(label).set(backlog.oldest_seconds)
        JOBS_WAITING.labels(HEAVY).set(measured.heavy.waiting)
        JOBS_RUNNING.labels(HEAVY).set(measured.heavy.running)
        OLDEST_JOB.labels(HEAVY).set(measured.heavy.oldest_seconds)
        OUTBOX_EVENTS.set(measured.events)
        OUTBOX_LAG.set(measured.lag_seconds)
