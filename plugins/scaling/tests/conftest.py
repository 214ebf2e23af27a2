from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from perfopt.plugin import Container, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_scaling.strategy import ScalingStrategy

DAY = 288


class Bench:
    """Asks the strategy about a service with a daily wave."""

    def wave(self, days=14, low=2.0, high=8.0, noise=0.05, seed=1):
        """Returns total cores in 5-minute steps."""
        steps = np.arange(round(days * DAY))
        shape = (1 - np.cos(2 * np.pi * steps / DAY)) / 2
        noisy = np.random.default_rng(seed).lognormal(0, noise, steps.size)
        return (low + (high - low) * shape) * noisy

    def snapshot(
        self, total=None, *, replicas=10, request=1.0, service=None, hpa=None, recorded=None, **fields
    ):
        """Builds a snapshot whose replicas share the total evenly."""
        total = self.wave() if total is None else total
        ran = np.full(total.size, float(replicas)) if recorded is None else recorded
        container = Container(name="main", cpu_request_cores=request, memory_request_bytes=2**30)
        state = WorkloadState(containers=(container,), replicas=replicas, hpa=hpa, **fields)
        snapshot = make_snapshot({"main": {"cpu_cores": total / ran}}, state=state, service=service)
        return replace(snapshot, service={**snapshot.service, "replicas": ran})

    def ask(self, snapshot=None, *, validity=timedelta(days=7), **given):
        """Returns the strategy's answer."""
        asked = self.snapshot(**given) if snapshot is None else snapshot
        strategy = ScalingStrategy()
        return strategy.propose(make_context(asked, validity, strategy))


@pytest.fixture
def bench():
    return Bench()
