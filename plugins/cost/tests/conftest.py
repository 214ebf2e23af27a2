from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.plugin import Container, NodeType, PriceBook, ServiceClass, Slo, WorkloadId, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_cost.strategy import CostStrategy

GIB = 2**30
DAY = 288
BOOK = PriceBook(
    name="test",
    currency="EUR",
    cpu_core_hour=0.02,
    memory_gib_hour=0.005,
    node_types=(
        NodeType(name="medium", cores=8, memory_bytes=32 * GIB, price_hour=0.32, spot_price_hour=0.08),
        NodeType(name="small", cores=2, memory_bytes=8 * GIB, price_hour=0.08),
    ),
)


class Bench:
    """Asks the strategy about a service of equal replicas whose history a test writes down."""

    def __init__(self):
        self.strategy = CostStrategy()

    def cpu(self, busy=0.2, quiet=None, days=14, hours=(8, 18), noise=0.02):
        """Returns the use of one replica: busy in the hours of weekdays, else quiet; it ends on a Monday."""
        steps = np.arange(days * DAY)
        hour, day = steps % DAY // 12, steps // DAY
        open_ = (hours[0] <= hour) & (hour < hours[1]) & (day % 7 < 5)
        level = np.where(open_, busy, busy if quiet is None else quiet)
        return level * (1 + noise * np.random.default_rng(1).standard_normal(steps.size)).clip(0.9, 1.1)

    def memory(self, gib=0.5, days=14):
        return gib * GIB * (1 + 0.02 * np.random.default_rng(2).standard_normal(days * DAY)).clip(0.9, 1.1)

    def ask(
        self, cpu=None, memory=None, *, metrics=None, service=None, container=None, book=None, kind="",
        service_class=ServiceClass.STANDARD, slo=None, labels=None, replicas=6, zones=(), calendar=None,
        sessions=None, **state
    ):  # fmt: skip
        cpu = self.cpu() if cpu is None else cpu
        memory = self.memory(days=cpu.shape[-1] // DAY) if memory is None else memory
        given = Container(
            name="main",
            cpu_request_cores=1.0,
            memory_request_bytes=2 * GIB,
            cpu_limit_cores=2.0,
            memory_limit_bytes=4 * GIB,
        )
        given = msgspec.structs.replace(given, **(container or {}))
        snapshot = make_snapshot(
            {"main": {"cpu_cores": cpu, "memory_bytes": memory, **(metrics or {})}},
            service=service,
            state=WorkloadState(containers=(given,), replicas=replicas, **state),
        )
        workload = msgspec.structs.replace(
            snapshot.workload,
            id=WorkloadId(name="example", namespace="shop" if kind else "", kind=kind),
            service_class=service_class,
            slo=None if slo is None else Slo(latency_ms=slo),
            labels=labels or {},
            zones=zones,
            calendar=calendar,
        )
        context = make_context(replace(snapshot, workload=workload))
        return self.strategy.propose(
            replace(context, price_book=book or context.price_book, sessions=sessions or {})
        )

    def served(self, replicas=6, cpu=None, per_request=0.004, limit=2.0, threads=32.0):
        """Returns workload-scoped metrics of a service whose latency follows the law of a queue."""
        cpu = self.cpu(busy=0.6, quiet=0.1) if cpu is None else cpu
        law = ServiceParameters(*(np.array([value]) for value in (0.1, 8.0, 0.2, 0.02, 0.3, 2.0, threads)))
        load = ReplicaLoad(cpu / per_request, cpu, np.full(cpu.size, limit), np.array(300.0))
        logs = shipped_surrogate().predict(law, load)[:, :4]
        names = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
        return dict(zip(names, 1000 * np.exp(logs).T, strict=True)) | {
            "requests_per_second": replicas * load.rate
        }


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def book():
    return BOOK
