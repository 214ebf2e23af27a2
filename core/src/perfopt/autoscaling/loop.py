"""Runs an autoscaler's 15-second loop over a demand, with pods that take time to become ready."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from perfopt.autoscaling.behavior import Behavior
from perfopt.autoscaling.controller import (
    SYNC_SECONDS,
    Controller,
    ExternalMetric,
    PodCounts,
    ResourceMetric,
)
from perfopt.autoscaling.world import Replicas, SimulatedDemand
from perfopt.metrics.snapshot import Array

LOOPS_A_MINUTE = 60 // SYNC_SECONDS
METRIC_LOOPS = 4  # a metric is the mean of the last minute


@dataclass(frozen=True, slots=True)
class AutoscalerSettings:
    """What an autoscaler is set to.

    Attributes:
        target: utilisation of what a replica carries; None scales on the plan alone.
        maximum, minimum: replicas.
        behavior: of scaling up and down.
        plan: replicas by minute that an external metric asks for, as KEDA's metrics-api scaler hands on.
        floor: fewest replicas by minute, as a schedule of minReplicas sets them.
    """

    target: float | None
    maximum: int
    minimum: int = 1
    behavior: Behavior = field(default_factory=Behavior)
    plan: Replicas | None = None
    floor: Replicas | None = None


@dataclass
class _PodLifecycle:
    """The pods of a workload: ready ones, and those that become ready later, oldest first."""

    ready: int
    starting: deque[tuple[int, int]]

    def running(self) -> int:
        return self.ready + sum(count for _, count in self.starting)

    def settle(self, now: int) -> None:
        while self.starting and self.starting[0][0] <= now:
            self.ready += self.starting.popleft()[1]

    def resize(self, desired: int, ready_at: int) -> None:
        """Adds pods that start now, or removes: those that are not ready go first, as a ReplicaSet has it."""
        surplus = self.running() - desired
        if surplus < 0:
            self.starting.append((ready_at, -surplus))
        while surplus > 0 and self.starting:
            at, count = self.starting.pop()
            if count > surplus:
                self.starting.append((at, count - surplus))
            surplus -= min(count, surplus)
        self.ready -= max(surplus, 0)


def run_loop(world: SimulatedDemand, settings: AutoscalerSettings) -> tuple[Array, Array]:
    """Returns ready and wanted replicas by minute: means over the minute's loops, shape (minutes,) each.

    The utilisation that the controller sees is the demand of the minute before over what is ready.
    """
    seen = np.convolve(np.repeat(world.demand, LOOPS_A_MINUTE), np.full(METRIC_LOOPS, 1 / METRIC_LOOPS))
    demand: list[float] = np.r_[world.demand[:1], seen][: world.demand.size * LOOPS_A_MINUTE].tolist()
    plan = None if settings.plan is None else settings.plan.tolist()
    floor = None if settings.floor is None else settings.floor.tolist()
    controller = Controller(settings.maximum, settings.minimum, settings.behavior)
    pods = _PodLifecycle(max(_first(world, settings), settings.minimum), deque())
    ready, desired = np.empty(len(demand)), np.empty(len(demand))
    for loop, load in enumerate(demand):
        now, minute = loop * SYNC_SECONDS, loop // LOOPS_A_MINUTE
        pods.settle(now)
        if floor is not None:
            controller.minimum = min(max(floor[minute], settings.minimum), settings.maximum)
        metrics: list[ResourceMetric | ExternalMetric] = []
        if settings.target is not None:
            usage = load / (pods.ready * world.capacity) if pods.ready else None
            metrics.append(ResourceMetric(usage, settings.target))
        if plan is not None:
            metrics.append(ExternalMetric(float(plan[minute]), 1.0))
        running = pods.running()
        size = controller.sync(now, PodCounts(running, pods.ready), metrics)
        if size != running:
            pods.resize(size, now + world.startup_minutes * 60)
        ready[loop], desired[loop] = pods.ready, size
    return _by_minute(ready), _by_minute(desired)


def _first(world: SimulatedDemand, settings: AutoscalerSettings) -> int:
    """Starts where the first minute's demand would have it."""
    target = settings.target if settings.target is not None else 1.0
    return min(max(int(np.ceil(world.demand[0] / (target * world.capacity))), 1), settings.maximum)


def _by_minute(values: Array) -> Array:
    """Takes the lowest of each minute: a minute is as short as its shortest moment."""
    lowest: Array = values.reshape(-1, LOOPS_A_MINUTE).min(axis=1)
    return lowest
