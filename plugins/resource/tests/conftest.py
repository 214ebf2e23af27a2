from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Container, TimeGrid, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.strategy import ResourceStrategy
from perfopt_resource.training.build import build
from perfopt_resource.training.examples import ContainerSeries, OriginSampling, collect

GIB = 2**30
DAY = 288


class Bench:
    """Asks the strategy about a container "main" whose history a test writes down."""

    def __init__(self):
        self.strategy = ResourceStrategy()
        self.container = Container(
            name="main",
            cpu_request_cores=2.0,
            memory_request_bytes=4 * GIB,
            cpu_limit_cores=4.0,
            memory_limit_bytes=8 * GIB,
        )

    def cpu(self, days=14, level=0.2, spread=0.05, seed=1):
        rng = np.random.default_rng(seed)
        shape = 1 + 0.5 * np.sin(np.arange(round(days * DAY)) / DAY * 2 * np.pi)
        return level * shape * (1 + spread * rng.standard_normal(shape.size)).clip(0.5, 2)

    def memory(self, days=14, level=1.0, spread=0.02, seed=2):
        rng = np.random.default_rng(seed)
        return level * GIB * (1 + spread * rng.standard_normal(round(days * DAY))).clip(0.9, 1.1)

    def history(self, **metrics):
        return {"cpu_cores": self.cpu(), "memory_bytes": self.memory()} | metrics

    def snapshot(self, metrics=None, *, container=None, **state):
        container = msgspec.structs.replace(self.container, **(container or {}))
        return make_snapshot(
            {"main": self.history() if metrics is None else metrics},
            state=WorkloadState(containers=(container,), replicas=2, **state),
        )

    def ask(self, snapshot=None, *, validity=timedelta(days=7), **options):
        snapshot = self.snapshot(**options) if snapshot is None else snapshot
        return self.strategy.propose(make_context(snapshot, validity))

    def size(self, *arguments, **options):
        return self.ask(*arguments, **options).target.containers[0]


@pytest.fixture
def bench():
    return Bench()


HOUR = 3600
SAMPLINGS = (
    OriginSampling(24 * HOUR, 24 * HOUR, aligned=True),
    OriginSampling(6 * HOUR, 24 * HOUR, aligned=False),
)


def make_series(name, rng, restless, days=8):
    """A container whose daily peak varies by as much as it is restless."""
    grid = TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), timedelta(seconds=300), days * 288)
    peaks = np.repeat(np.exp(rng.normal(0, restless, days)), 288)
    shape = 0.3 + 0.7 * np.sin(np.linspace(0, np.pi * days, grid.size)) ** 2
    cpu = 0.5 * peaks * shape * rng.uniform(0.9, 1.0, grid.size)
    memory = 5e8 * (1 + 0.2 * cpu + 0.02 * rng.random(grid.size))
    return ContainerSeries(
        name, grid, cpu[None], memory[None], np.full(grid.size, 4.0), np.full(grid.size, 4e9)
    )


@pytest.fixture(scope="session")
def fleet():
    rng = np.random.default_rng(1)
    return [make_series(f"s{i}", rng, 0.05 if i % 2 else 0.5) for i in range(24)]


@pytest.fixture(scope="session")
def examples(fleet):
    return collect(fleet, SAMPLINGS)


@pytest.fixture(scope="session")
def model(examples):
    pytest.importorskip("sklearn")
    return build(examples, name="test", version="1", data=("made for this test",), command="none")
