"""A clock and a source for recommendations that are compared with what came."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from sqlalchemy import select

from perfopt.domain.workload import Container, WorkloadState
from perfopt.errors import NoDataError
from perfopt.sources.base import FailedSnapshot
from perfopt.testing import make_snapshot
from perfopt_api.store.tables import outcomes

MADE = datetime(2026, 3, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
GIB = 2**30
KEY = "resource/resource"
SCALING = "scaling/scaling"


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Source:
    """Knows workloads that use half a core and half a GiB, until a certain instant."""

    name = "fake"

    def __init__(self, *names, latest=MADE + WEEK, cpu=0.5, **metrics):
        self.names, self.end, self.cpu, self.metrics = names, latest, cpu, metrics
        self.read: list[tuple[Sequence[str], datetime, datetime]] = []
        self.error = None

    async def latest(self):
        if self.error is not None:
            raise self.error
        return self.end

    def _snapshot(self, name, start, end):
        steps = (end - start) // timedelta(minutes=5)
        used = {"cpu_cores": np.full(steps, self.cpu), "memory_bytes": np.full(steps, 0.5 * GIB)}
        more = {metric: np.full(steps, value) for metric, value in self.metrics.items()}
        return make_snapshot({"main": used | more}, name=name, end=end, state=state(9.0))

    async def inventory(self, at):
        return tuple(self._snapshot(name, at - timedelta(hours=1), at).workload for name in self.names)

    async def snapshots(self, workloads, start, end, metrics):
        self.read.append(([w.service_name for w in workloads], start, end))
        for workload in workloads:
            if workload.service_name == "silent":
                yield FailedSnapshot(workload, NoDataError("There is no sample of it."))
            else:
                yield self._snapshot(workload.service_name, start, end)


def state(cpu):
    main = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=GIB, memory_limit_bytes=GIB)
    return WorkloadState(containers=(main,), replicas=2)


def one_replica(cpu):
    return msgspec.structs.replace(state(cpu), replicas=1)


async def rows(database):
    async with database.transaction() as connection:
        found = (await connection.execute(select(outcomes).order_by(outcomes.c.recommendation_id))).mappings()
        return [dict(row) for row in found]
