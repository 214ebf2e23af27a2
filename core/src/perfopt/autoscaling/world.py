"""A world of one-minute steps in which policies of horizontal scaling are compared.

Demand arrives by minute. Replicas that are wanted from minute t on serve from minute t + start-up on; those
that are no longer wanted go at once. A minute is violated when demand is above 90 % of what ready replicas
carry. Minutes without demand are not scored. Cost is that of ready replicas over an oracle's that holds
ceil(demand / (70 % of a replica)) in every minute.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array

FULL = 0.9  # of capacity: demand above it violates a minute
ORACLE_UTILISATION = 0.7
MEAN_REPLICAS = 8.0  # where nothing says what a replica carries: eight carry the mean demand
EDGE = 1e-9  # of a replica: rounding must not buy one
Replicas = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SimulatedDemand:
    """One demand to be served.

    Attributes:
        demand: by minute, zero where there is none, shape (minutes,).
        capacity: of one replica, in the unit of the demand.
        step_minutes: of the samples that the demand was made from: each is held over its minutes.
        first_minute: since the epoch; steps are aligned to it.
        startup_minutes: from the decision to a ready replica.
        warmup_minutes: at the start: seen by policies, not scored.
    """

    demand: Array
    capacity: float
    step_minutes: int = 1
    first_minute: int = 0
    startup_minutes: int = 2
    warmup_minutes: int = 2880

    @classmethod
    def of_eight(cls, demand: Array, *, step_minutes: int = 1, first_minute: int = 0) -> "SimulatedDemand":
        """Returns the world in which eight replicas carry the mean demand."""
        return cls(demand, float(demand.mean()) / MEAN_REPLICAS, step_minutes, first_minute)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which minutes count: with demand, after the warm-up."""
        after: NDArray[np.bool_] = np.arange(self.demand.size) >= self.warmup_minutes
        return (self.demand > 0) & after

    def oracle(self) -> Replicas:
        """Returns the replicas of the oracle, shape (minutes,)."""
        return replicas_for(self.demand, ORACLE_UTILISATION * self.capacity)

    def ready(self, desired: Replicas) -> Replicas:
        """Returns the ready replicas where these are wanted: the fewest wanted since the start-up began."""
        width = self.startup_minutes + 1
        padded = np.r_[np.repeat(desired[:1], width - 1), desired]
        return np.lib.stride_tricks.sliding_window_view(padded, width).min(axis=1)


@dataclass(frozen=True, slots=True)
class SimulationOutcome:
    """How a policy did in a world.

    Attributes:
        violated: share of the scored minutes.
        cost: of ready replicas in scored minutes, over the oracle's.
        whole_cost: of wanted replicas in all minutes after the warm-up, quiet ones too, over the oracle's.
        starts_per_hour: replicas started, over the mean of the oracle's in scored minutes.
    """

    violated: float
    cost: float
    whole_cost: float
    starts_per_hour: float


def measure(world: SimulatedDemand, desired: Replicas) -> SimulationOutcome | None:
    """Scores the replicas wanted in each minute; None where no minute counts."""
    return measure_ready(world, world.ready(desired), desired)


def measure_ready(
    world: SimulatedDemand, ready: Array | Replicas, desired: Array | Replicas
) -> SimulationOutcome | None:
    """Scores ready replicas by minute; see `measure`."""
    scored = world.scored
    if not scored.any():
        return None
    oracle, begin = world.oracle(), world.warmup_minutes
    short = world.demand > FULL * world.capacity * ready * (1 + EDGE)
    started = np.clip(np.diff(desired[begin:]), 0, None).sum()
    return SimulationOutcome(
        violated=float(short[scored].mean()),
        cost=float(ready[scored].sum() / oracle[scored].sum()),
        whole_cost=float(desired[begin:].sum() / oracle[begin:].sum()),
        starts_per_hour=float(60 * started / max(desired.size - begin, 1) / oracle[scored].mean()),
    )


def replicas_for(demand: Array, each: float) -> Replicas:
    """Returns how many replicas carry a demand when each is to carry so much: whole, zero for nothing."""
    return np.ceil(demand / each - EDGE).astype(np.int64)
