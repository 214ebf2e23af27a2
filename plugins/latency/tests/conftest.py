from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.plugin import Container, Slo, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_latency.strategy import LatencyStrategy

DAY = 288
KEEP_100_MS = Slo(latency_ms=100.0)


class Bench:
    """Asks the strategy about a service of known physics: two weeks of days, noise of 5 %."""

    def __init__(self):
        self.strategy = LatencyStrategy()

    def service(self, *, wait=0.02, threads=32.0, heavy=8.0, cores=2.0):
        values = (0.1, heavy, 0.2, wait, 0.3, cores, threads)
        return ServiceParameters(*(np.array([value]) for value in values))

    def metrics(self, service=None, *, days=14, peak=80.0, cpu=0.004, limit=0.5, noise=0.05, seed=1):
        """Returns container and service metrics of a replica whose rate swings from a fifth to the peak."""
        rng = np.random.default_rng(seed)
        steps = np.arange(round(days * DAY))
        rate = (
            peak
            * (0.6 - 0.4 * np.cos(2 * np.pi * steps / DAY))
            * (1 + 0.03 * rng.standard_normal(steps.size))
        )
        load = ReplicaLoad(rate, rate * cpu, np.full(rate.size, limit), np.array(300.0))
        out = shipped_surrogate().predict(service if service is not None else self.service(), load)
        latency = 1000 * np.exp(out[:, :4] + noise * rng.standard_normal(out[:, :4].shape))
        container = {
            "cpu_cores": load.cpu_cores,
            "cpu_throttled_fraction": np.clip(out[:, 4] / 2, 0, 1),
            "memory_bytes": np.full(rate.size, 2.0**28),
        }
        names = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
        shared = dict(zip(names, latency.T, strict=True)) | {"requests_per_second": rate}
        return container, shared

    def snapshot(self, *, slo=KEEP_100_MS, replicas=1, extra=None, limit=0.5, stated=True, **options):
        state_options = {name: options.pop(name) for name in ("hpa", "vpa_mode", "keda") if name in options}
        container, shared = self.metrics(limit=limit, **options)
        shared["requests_per_second"] = shared["requests_per_second"] * replicas
        main = Container(
            name="main",
            cpu_request_cores=0.3,
            memory_request_bytes=2**29,
            cpu_limit_cores=limit if stated else None,
            memory_limit_bytes=2**30,
        )
        snapshot = make_snapshot(
            {"main": container},
            service=shared | (extra or {}),
            state=WorkloadState(containers=(main,), replicas=replicas, **state_options),
        )
        workload = msgspec.structs.replace(snapshot.workload, slo=slo)
        return replace(snapshot, workload=workload)

    def ask(self, snapshot=None, *, validity=timedelta(days=7), **options):
        snapshot = self.snapshot(**options) if snapshot is None else snapshot
        return self.strategy.propose(make_context(snapshot, validity))

    def p99(self, service, *, rate, limit, cpu=0.004):
        """Returns the true p99 in ms of steps of 5 minutes."""
        load = ReplicaLoad(np.array([rate]), np.array([rate * cpu]), np.array([limit]), np.array(300.0))
        return 1000 * float(np.exp(shipped_surrogate().predict(service, load)[0, 3]))


@pytest.fixture
def bench():
    return Bench()
