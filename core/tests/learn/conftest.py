from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.learn.build import build
from perfopt.learn.examples import Sampling, Series, collect
from perfopt.metrics.snapshot import TimeGrid

HOUR = 3600
SAMPLINGS = (
    Sampling(24 * HOUR, 24 * HOUR, 1.0, aligned=True),
    Sampling(6 * HOUR, 24 * HOUR, 0.3, aligned=False),
)


def make_series(name, rng, restless, days=8):
    """A container whose daily peak varies by as much as it is restless."""
    grid = TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), timedelta(seconds=300), days * 288)
    peaks = np.repeat(np.exp(rng.normal(0, restless, days)), 288)
    shape = 0.3 + 0.7 * np.sin(np.linspace(0, np.pi * days, grid.size)) ** 2
    cpu = 0.5 * peaks * shape * rng.uniform(0.9, 1.0, grid.size)
    memory = 5e8 * (1 + 0.2 * cpu + 0.02 * rng.random(grid.size))
    return Series(name, grid, cpu[None], memory[None], np.full(grid.size, 4.0), np.full(grid.size, 4e9))


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
