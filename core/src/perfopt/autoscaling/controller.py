"""The HorizontalPodAutoscaler's control loop, step by step, as Kubernetes documents and implements it.

Sources: kubernetes.io "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior) and
pkg/controller/podautoscaler (replica_calculator.go, horizontal.go). One call of `Controller.sync` is one
loop; the caller keeps the pods.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from perfopt.autoscaling.behavior import Behavior, fewest_after_down, most_after_up

SYNC_SECONDS = 15
EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class PodCounts:
    """What the controller sees of the pods.

    Attributes:
        running: all of them, ready or not: the size of the workload.
        ready: those that are ready.
        missing: ready ones whose metrics are missing.
    """

    running: int
    ready: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class ResourceMetric:
    """Utilisation of a resource against its request (type Resource, target type Utilization).

    Attributes:
        usage: mean utilisation of the ready pods with metrics, 1 is the whole request; None is no metric.
        target: 0 to 1 and above.
    """

    usage: float | None
    target: float

    def desired(self, pods: PodCounts, up: float, down: float) -> int | None:
        """Returns the replicas this metric asks for, or None where it can't be computed.

        Args:
            pods: as the controller sees them.
            up: tolerance of scaling up.
            down: tolerance of scaling down.
        """
        measured = pods.ready - pods.missing
        if self.usage is None or measured <= 0:
            return None
        ratio = self.usage / self.target
        unready = pods.running - pods.ready
        fill_unready = unready > 0 and ratio > 1
        if not fill_unready and not pods.missing:
            return pods.running if _within(ratio, up, down) else _ceil(ratio * pods.ready)
        return self._conservative(pods, ratio, measured, unready if fill_unready else 0, (up, down))

    def _conservative(
        self, pods: PodCounts, ratio: float, measured: int, unready: int, tolerances: tuple[float, float]
    ) -> int:
        """Counts pods without metrics as idle when scaling up and as full when scaling down."""
        assumed = 0.0
        if ratio < 1:
            assumed = max(1.0, self.target) * pods.missing
        elif ratio == 1:
            assumed = self.target * pods.missing
        counted = measured + pods.missing + unready
        assert self.usage is not None
        again = (self.usage * measured + assumed) / counted / self.target
        if _within(again, *tolerances) or (ratio < 1 < again) or (again < 1 < ratio):
            return pods.running
        desired = _ceil(again * counted)
        if (again < 1 and desired > pods.running) or (again > 1 and desired < pods.running):
            return pods.running
        return desired


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """A number from outside, shared among the replicas (type External, target type AverageValue).

    Attributes:
        value: the number; None where the source did not answer.
        target: what one replica is to have of it.
    """

    value: float | None
    target: float

    def desired(self, pods: PodCounts, up: float, down: float) -> int | None:
        """Returns the replicas this metric asks for; see ResourceMetric.desired."""
        if self.value is None:
            return None
        ratio = self.value / (self.target * pods.running)
        return pods.running if _within(ratio, up, down) else _ceil(self.value / self.target)


@dataclass
class Controller:
    """One HorizontalPodAutoscaler with its memory of recommendations and changes.

    Attributes:
        maximum: replicas at the most.
        behavior: windows, policies and tolerances.
        minimum: replicas at the least.
    """

    maximum: int
    minimum: int = 1
    behavior: Behavior = field(default_factory=Behavior)
    _said: deque[tuple[int, int]] = field(default_factory=deque)
    _changes: deque[tuple[int, int]] = field(default_factory=deque)

    def sync(self, now: int, pods: PodCounts, metrics: Sequence[ResourceMetric | ExternalMetric]) -> int:
        """Runs one loop and returns the replicas that the workload is set to.

        Args:
            now: seconds; does not decrease.
            pods: of the workload, at least one running.
            metrics: the highest of what they ask for counts; where one can't be computed and another
                asks for fewer, nothing is removed.
        """
        current = pods.running
        if not self.minimum <= current <= self.maximum:
            return self._set(now, current, min(max(current, self.minimum), self.maximum))
        up, down = self.behavior.up, self.behavior.down
        counts = [metric.desired(pods, up.tolerance, down.tolerance) for metric in metrics]
        proposed = [desired for desired in counts if desired is not None]
        desired = max(proposed, default=current)
        if len(proposed) < len(counts):
            desired = max(desired, current)
        return self._set(now, current, self._limited(now, current, self._stabilised(now, current, desired)))

    def _stabilised(self, now: int, current: int, desired: int) -> int:
        """Takes the most cautious recommendation of the direction's window, the present one included."""
        rising = desired >= current
        rules = self.behavior.up if rising else self.behavior.down
        longest = max(self.behavior.up.window_seconds, self.behavior.down.window_seconds)
        while self._said and self._said[0][0] <= now - longest:
            self._said.popleft()
        self._said.append((now, desired))
        if not rules.window_seconds:
            return desired
        recent = [count for at, count in self._said if at > now - rules.window_seconds]
        return min(recent) if rising else max(recent)

    def _limited(self, now: int, current: int, desired: int) -> int:
        """Applies the policies and the bounds."""

        def changed(seconds: int) -> int:
            return self._change(now, seconds)

        if desired > current:
            return min(desired, most_after_up(self.behavior.up, current, changed), self.maximum)
        if desired < current:
            return max(desired, fewest_after_down(self.behavior.down, current, changed), self.minimum)
        return current

    def _change(self, now: int, seconds: int) -> int:
        """Returns what was added net of what was removed within the last so many seconds."""
        return sum(change for at, change in self._changes if at > now - seconds)

    def _set(self, now: int, current: int, desired: int) -> int:
        if desired != current:
            longest = max(self.behavior.up.longest_period, self.behavior.down.longest_period)
            while self._changes and self._changes[0][0] <= now - longest:
                self._changes.popleft()
            self._changes.append((now, desired - current))
        return desired


def _within(ratio: float, up: float, down: float) -> bool:
    return 1 - down - EDGE <= ratio <= 1 + up + EDGE


def _ceil(value: float) -> int:
    return math.ceil(value - EDGE)
