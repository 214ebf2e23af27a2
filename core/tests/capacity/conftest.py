import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters, observe
from perfopt.capacity.surrogate import shipped_surrogate

PERIOD = 0.1


class World:
    """Services whose parameters a test knows, observed in windows of 5 s as production would show them."""

    def service(self, *, share=0.0, ratio=1.0, spread=0.7, wait=0.0, threads=16.0, cores=1.0):
        values = (share, ratio, spread, wait, 0.3 if wait else 0.0, cores, threads)
        return ServiceParameters(*(np.array([[value]]) for value in values))

    def windows(self, service, *, cpu=0.004, limit=0.4, busiest=0.85, count=64, noise=0.05, seed=1):
        """Returns what `observe` takes, for windows from a fifth of the busiest load up to it."""
        rng = np.random.default_rng(seed)
        rate = np.linspace(0.2, 1.0, count) * busiest * limit / cpu
        load = ReplicaLoad(rate, rate * cpu, np.full(count, limit), np.array(5.0))
        out = shipped_surrogate().predict(service, load)[0]
        latency = np.exp(out[:, :4] + noise * rng.standard_normal((count, 4)))
        order = rng.permutation(count)
        throttled = np.clip(out[:, 4] / 2, 0, 1)
        return rate[order], load.cpu_cores[order], load.limit_cores, latency[order], throttled[order], 5.0

    def observed(self, service, **options):
        return observe(*self.windows(service, **options))

    def truth(self, service, *, rate, cpu=0.004, limit=0.4):
        """Returns the p99 in ms of windows of 5 s."""
        load = ReplicaLoad(np.array([rate]), np.array([rate * cpu]), np.array([limit]), np.array(5.0))
        return 1000 * float(np.exp(shipped_surrogate().predict(service, load)[0, 0, 3]))

    def simulate(self, *, rate, cpu, limit, seconds=3000.0, seed=1):
        """Serves lognormal demands one by one under a quota, and returns the latencies: a check by hand."""
        rng = np.random.default_rng(seed)
        arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
        demands = cpu * np.exp(0.6315 * rng.standard_normal(arrivals.size) - 0.6315**2 / 2)  # cv 0.7
        now, period, quota, found = 0.0, 0, limit * PERIOD, []
        for arrival, demand in zip(arrivals.tolist(), demands.tolist(), strict=True):
            now, left = max(now, arrival), demand
            while left > 0:
                if now >= (period + 1) * PERIOD - 1e-12:
                    period, quota = int(now / PERIOD + 1e-9), limit * PERIOD
                step = min(left, quota, (period + 1) * PERIOD - now)
                now, left, quota = now + step, left - step, quota - step
                if quota <= 1e-12:
                    now = (period + 1) * PERIOD
            found.append(now - arrival)
        return np.array(found)


@pytest.fixture
def world():
    return World()
