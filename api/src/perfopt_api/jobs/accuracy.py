"""Keeps the gauges of recorded accuracy up to date. Every worker runs one."""

from perfopt_api.store.recorded import PostgresRecorded
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import ACCURACY, SCORED, STATED_CONFIDENCE


class AccuracyTask(BackgroundTask):
    """Sets what recommendations of the last 13 weeks came to, by type.

    Args:
        store: adds outcomes up.
    """

    name = "accuracy"
    pause_seconds = 300.0

    def __init__(self, store: PostgresRecorded) -> None:
        self._store = store

    async def round(self) -> None:
        """Adds up once."""
        for one in await self._store.recorded():
            ACCURACY.labels(one.optimization_type).set(one.accuracy)
            STATED_CONFIDENCE.labels(one.optimization_type).set(one.confidence)
            SCORED.labels(one.optimization_type).set(one.scored)
