"""The queueing law: what a service is, what load it is under, and the closed forms of its waiting.

A service is an M/G/k queue for threads in front of a processor that stops when the quota of a period is
used up. Its latency has no closed form; the surrogate (surrogate.py) is fitted to simulations of it, and
these closed forms are its inputs: utilisation, Kingman's wait, the share of busy threads, demand
against the quota.
"""

from dataclasses import dataclass

import numpy as np

from perfopt.metrics.snapshot import Array

LEVELS = (0.5, 0.9, 0.95, 0.99)
INPUTS = 25  # of the surrogate: the columns of closed_forms
CFS_PERIOD_SECONDS = 0.1  # cpu.cfs_period_us, which Kubernetes leaves at its default
_IDLE = 0.04  # keeps 1/(1 - u) finite: a window of finite length does not diverge at full utilisation
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class ServiceParameters:
    """One service or a batch of them: arrays that broadcast against each other and against a ReplicaLoad.

    Attributes:
        heavy_share, heavy_ratio: this share of the requests needs that many times the CPU of the others.
        spread: coefficient of variation of the CPU demand within each of the two kinds (lognormal).
        wait_seconds: mean time a request waits downstream, without CPU, holding its thread.
        wait_spread: its coefficient of variation (lognormal).
        cores: that it can use at once.
        threads: requests in service at once.
    """

    heavy_share: Array
    heavy_ratio: Array
    spread: Array
    wait_seconds: Array
    wait_spread: Array
    cores: Array
    threads: Array


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one replica is under: arrays that broadcast.

    Attributes:
        rate: requests completed per second.
        cpu_cores: used; cpu_cores / rate is the CPU per request.
        limit_cores: the CPU limit.
        window_seconds: length of the windows whose quantiles are meant. A quantile of few requests is lower.
    """

    rate: Array
    cpu_cores: Array
    limit_cores: Array
    window_seconds: Array

    @property
    def utilisation(self) -> Array:
        """Share of the limit that is used, at most 1."""
        used: Array = np.minimum(np.maximum(self.cpu_cores / self.limit_cores, 0.0), 1.0)
        return used


def closed_forms(service: ServiceParameters, load: ReplicaLoad) -> Array:
    """Returns the surrogate's inputs, shape (..., inputs), for the broadcast shape of both arguments.

    Among them: Kingman's approximation of the wait, u/(1-u) * (1 + cv^2)/2 * s (Kingman 1961, with Poisson
    arrivals, s the time of a request at the average speed of the quota); the share of threads held (Little's
    law: rate * time held / threads); the CPU of a mean and a heavy request against the quota of a period.
    """
    demand = load.cpu_cores / np.maximum(load.rate, _LEAST)
    used = load.utilisation
    idle = 1 - used + _IDLE
    share, ratio, spread = service.heavy_share, service.heavy_ratio, service.spread
    light = demand / (1 + share * (ratio - 1))
    variation = _variation(share, ratio, spread)
    base = demand + service.wait_seconds
    heavy = light * np.where(share > 0, ratio, 1.0) * np.exp(2 * np.sqrt(np.log1p(spread**2)))
    quota = load.limit_cores * CFS_PERIOD_SECONDS
    cores = np.maximum(service.cores, load.limit_cores)
    held = load.rate * (service.wait_seconds + demand / np.minimum(load.limit_cores, 1.0)) / service.threads
    columns = (
        used,
        np.log(idle),
        0.1 * used / idle,
        np.log(load.limit_cores),
        np.log(cores),
        np.log(demand / CFS_PERIOD_SECONDS),
        share,
        np.log(ratio),
        spread,
        np.log1p(service.wait_seconds / 0.003),
        np.log(base),
        demand / base,
        service.wait_spread,
        np.log(service.threads),
        np.minimum(held, 1.5),
        np.log(np.maximum(1 - held, 0) + 0.05),
        np.log1p(used / idle * (1 + variation) / 2 * demand / load.limit_cores / base),
        np.log1p(variation) / 2,
        np.log(heavy / quota),
        np.log(demand / quota),
        np.minimum(np.maximum(heavy / quota - 1, 0), 3),
        np.log(load.rate * load.window_seconds),
        np.log(load.window_seconds),
        np.log(load.limit_cores / cores),
        np.minimum(service.threads * demand / quota, 5),
    )
    # Written column by column: broadcasting and stacking them took longer than computing them.
    inputs = np.empty((*np.broadcast(*columns).shape, len(columns)))
    for number, column in enumerate(columns):
        inputs[..., number] = column
    return inputs


def _variation(share: Array, ratio: Array, spread: Array) -> Array:
    """Squared coefficient of variation of the CPU demand of all requests."""
    second = (1 + spread**2) * (1 - share + share * ratio**2)
    squared: Array = second / (1 - share + share * ratio) ** 2 - 1
    return squared
