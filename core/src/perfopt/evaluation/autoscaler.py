"""Steps an autoscaler on CPU through a window, with the stabilisation and policies of its `behavior`.

A step of the grid is mostly longer than the 15 seconds of the autoscaler's own loop. In each step it sees
the demand of the step before; a stabilisation window counts the steps that it reaches into, and a policy
with a period shorter than a step is applied as often as the period fits into the step.
"""

import math
from collections.abc import Callable, Sequence
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
        desired = np.maximum(np.ceil(seen), 1.0)
        up, down = self.behavior.up, self.behavior.down
        limit_up, limit_down = self._limiter(up), self._limiter(down)
        after_up, after_down = self._steps_in(up.window_seconds), self._steps_in(down.window_seconds)
        below, above = 1 - down.tolerance, 1 + up.tolerance
        low, high = below * running, above * running
        recommended, found = [running], list[float]()  # as in Kubernetes, recommended before the bounds
        for demand, wanted, least in zip(seen.tolist(), desired.tolist(), minimum.tolist(), strict=True):
            size = running if low <= demand <= high else wanted
            recommended.append(size)
            if size > running:
                size = min(recommended[-after_up - 1 :])
                size = max(min(size, limit_up(found, running)), running)
            elif size < running:
                size = max(recommended[-after_down - 1 :])
                size = min(max(size, limit_down(found, running)), running)
            if not least <= size <= self.maximum:
                size = least if size < least else self.maximum
            if size != running:
                running, low, high = size, below * size, above * size
            found.append(running)
        return np.array(found)

    def _steps_in(self, seconds: int) -> int:
        return -(-seconds // self.step_seconds)

    def _limiter(self, rules: ScalingRules) -> Callable[[Sequence[float], float], float]:
        """Returns `_limit` of one direction; where it depends on the running replicas alone, it is kept."""
        known: dict[float, float] = {}
        lasting = rules.longest_period > self.step_seconds

        def limit(found: Sequence[float], running: float) -> float:
            if lasting or running not in known:
                known[running] = self._limit(rules, found, running)
            return known[running]

        return limit

    def _limit(self, rules: ScalingRules, found: Sequence[float], running: float) -> float:
        """Returns how far the policies let the replicas move within one step."""
        rising = rules is self.behavior.up
        if rules.select == "Disabled":
            return running
        reached = [self._reach(policy, found, running, rising=rising) for policy in rules.policies]
        return max(reached) if rising == (rules.select == "Max") else min(reached)

    def _reach(self, policy: ScalingPolicy, found: Sequence[float], running: float, *, rising: bool) -> float:
        """Returns what one policy allows at the end of the step."""
        times = self.step_seconds // policy.period_seconds
        sign = 1 if rising else -1
        if times:
            start = running
        else:  # the change counts from the start of the period, some steps ago
            back, times = policy.period_seconds // self.step_seconds, 1
            start = found[-back] if len(found) >= back else running
        if policy.kind == "Pods":
            return start + sign * times * policy.value
        factor = 1 + sign * policy.value / 100
        reached = start * factor**times
        return float(math.ceil(reached) if rising else math.floor(reached))
