"""Steps an autoscaler on CPU through a window, with the stabilisation and policies of its `behavior`.

A step of the grid is mostly longer than the 15 seconds of the autoscaler's own loop. In each step it sees
the demand of the step before; a stabilisation window counts the steps that it reaches into, and a policy
with a period shorter than a step is applied as often as the period fits into the step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perfopt.autoscaling.behavior import Behavior, ScalingPolicy, ScalingRules
from perfopt.domain.workload import HpaState
from perfopt.errors import InvalidInputError
from perfopt.metrics.snapshot import Array


@dataclass(frozen=True, slots=True)
class SteppedAutoscaler:
    """An autoscaler in steps of a time grid.

    Attributes:
        maximum: replicas at the most.
        behavior: windows, policies and tolerances.
        step_seconds: of the grid.
    """

    maximum: float
    behavior: Behavior
    step_seconds: int

    @classmethod
    def of(cls, hpa: HpaState, step_seconds: int) -> "SteppedAutoscaler":
        """Reads the settings; a behavior that cannot be read counts as Kubernetes' default."""
        try:
            behavior = Behavior.parse(hpa.behavior)
        except InvalidInputError:
            behavior = Behavior()
        return cls(float(hpa.max_replicas), behavior, step_seconds)

    def replicas(self, needed: Array, minimum: Array, running: float) -> Array:
        """Returns the replicas at each step, shape (steps,).

        Args:
            needed: demand over what one replica is to carry, by step, shape (steps,).
            minimum: fewest replicas by step, at least 1 and at most the maximum, shape (steps,).
            running: replicas before the first step.
        """
        seen = np.concatenate(([running], needed[:-1]))  # at first it runs what it ran
        course = _Course(self, seen, minimum)
        up, down = self.behavior.up, self.behavior.down
        limit_up, limit_down = self._limiter(up), self._limiter(down)
        after_up, after_down = self._steps_in(up.window_seconds), self._steps_in(down.window_seconds)
        longest = max(after_up, after_down)
        replicas = np.empty(seen.size)
        recommended = [running]  # as in Kubernetes, before the bounds; a row at least as long as the windows
        step, end = course.next_change(running, 0), 0  # up to `end` it is known what runs
        while True:
            replicas[end:step] = running
            if step == seen.size:
                return replicas
            recommended += [
                course.recommended(running, at) for at in range(max(end, step - longest), step + 1)
            ]
            size = recommended[-1]
            if size > running:
                size = min(recommended[-after_up - 1 :]) if after_up else size
                size = max(min(size, limit_up(replicas, step, running)), running)
            elif size < running:
                size = max(recommended[-after_down - 1 :]) if after_down else size
                size = min(max(size, limit_down(replicas, step, running)), running)
            replicas[step] = running = course.bounded(size, step)
            end = step + 1
            step = course.next_change(running, end)

    def _steps_in(self, seconds: int) -> int:
        return -(-seconds // self.step_seconds)

    def _limiter(self, rules: ScalingRules) -> Callable[[Array, int, float], float]:
        """Returns `_limit` of one direction; where it depends on the running replicas alone, it is kept."""
        known: dict[float, float] = {}
        lasting = rules.longest_period > self.step_seconds

        def limit(hpa: Array, step: int, running: float) -> float:
            if lasting or running not in known:
                known[running] = self._limit(rules, hpa, step, running)
            return known[running]

        return limit

    def _limit(self, rules: ScalingRules, hpa: Array, step: int, running: float) -> float:
        """Returns how far the policies let the replicas move within one step."""
        rising = rules is self.behavior.up
        if rules.select == "Disabled":
            return running
        reached = [self._reach(policy, hpa, step, running, rising=rising) for policy in rules.policies]
        return max(reached) if rising == (rules.select == "Max") else min(reached)

    def _reach(self, policy: ScalingPolicy, hpa: Array, step: int, running: float, *, rising: bool) -> float:
        """Returns what one policy allows at the end of the step."""
        times = self.step_seconds // policy.period_seconds
        sign = 1 if rising else -1
        if times:
            start = running
        else:  # the change counts from the start of the period, some steps ago
            back, times = policy.period_seconds // self.step_seconds, 1
            start = float(hpa[step - back]) if step >= back else running
        if policy.kind == "Pods":
            return start + sign * times * policy.value
        factor = 1 + sign * policy.value / 100
        reached = start * factor**times
        return float(math.ceil(reached) if rising else math.floor(reached))


class _Course:
    """What an autoscaler sees over a window, and at which steps it may change the replicas at all.

    Most steps change nothing: what is wanted lies within the tolerance, or beyond a bound already reached.
    They are found for all steps together, once for each number of replicas that runs.
    """

    def __init__(self, autoscaler: SteppedAutoscaler, seen: Array, minimum: Array) -> None:
        """Takes the demand seen and the fewest replicas by step, each of shape (steps,)."""
        self._below = 1 - autoscaler.behavior.down.tolerance
        self._above = 1 + autoscaler.behavior.up.tolerance
        self._maximum = autoscaler.maximum
        self._seen, self._desired, self._minimum = seen, np.maximum(np.ceil(seen), 1.0), minimum
        self._changes: dict[float, bytes] = {}

    def next_change(self, running: float, step: int) -> int:
        """Returns the first step, from one on, that may change what runs; the number of steps if none."""
        changes = self._changes.get(running)
        if changes is None:
            changes = self._changes[running] = self._may_change(running)
        changed = changes.find(1, step)
        return changed if changed >= 0 else len(changes)

    def recommended(self, running: float, step: int) -> float:
        """Returns what is recommended in a step in which so many replicas run."""
        within = self._below * running <= self._seen.item(step) <= self._above * running
        return running if within else self._desired.item(step)

    def bounded(self, size: float, step: int) -> float:
        """Returns a number of replicas within the bounds of a step."""
        least: float = self._minimum.item(step)
        return size if least <= size <= self._maximum else least if size < least else self._maximum

    def _may_change(self, running: float) -> bytes:
        """Returns 1 for each step that may change what runs, else 0; as bytes, which are searched fastest."""
        seen, desired, minimum = self._seen, self._desired, self._minimum
        if running > self._maximum:
            return bytes([1]) * seen.size
        moves = minimum > running
        if running < self._maximum:
            moves |= (seen > self._above * running) & (desired > running)
        moves |= (seen < self._below * running) & (desired < running) & (minimum < running)
        return moves.tobytes()
