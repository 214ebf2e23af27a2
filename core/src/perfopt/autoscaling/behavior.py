"""`behavior` of an autoscaling/v2 HorizontalPodAutoscaler, with the defaults of Kubernetes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perfopt.errors import InvalidInputError

POLICY_TYPES = ("Pods", "Percent")
SELECT = ("Max", "Min", "Disabled")


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How much may change within a period.

    Attributes:
        kind: "Pods" or "Percent" of the replicas at the period's start.
        value: how many, or per cent.
        period_seconds: 1 to 1800.
    """

    kind: str
    value: int
    period_seconds: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction.

    Attributes:
        window_seconds: of recommendations, 0 to 3600; the most cautious of them counts.
        policies: limits of the change.
        select: "Max" takes the policy that allows the most change, "Min" the least, "Disabled" allows none.
        tolerance: relative deviation from the target that changes nothing.
    """

    window_seconds: int
    policies: tuple[ScalingPolicy, ...]
    select: str = "Max"
    tolerance: float = 0.1

    @property
    def longest_period(self) -> int:
        """The longest period of the policies, in seconds."""
        return max(policy.period_seconds for policy in self.policies)


DEFAULT_UP = ScalingRules(0, (ScalingPolicy("Pods", 4, 15), ScalingPolicy("Percent", 100, 15)))
DEFAULT_DOWN = ScalingRules(300, (ScalingPolicy("Percent", 100, 15),))


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions; see the Kubernetes reference of HorizontalPodAutoscalerBehavior."""

    up: ScalingRules = DEFAULT_UP
    down: ScalingRules = DEFAULT_DOWN

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None) -> "Behavior":
        """Reads the autoscaling/v2 form; what is left out has Kubernetes' default.

        Raises:
            InvalidInputError: a wrong type or a value out of range.
        """
        value = given or {}
        return cls(
            _rules(value.get("scaleUp"), DEFAULT_UP, "scaleUp"),
            _rules(value.get("scaleDown"), DEFAULT_DOWN, "scaleDown"),
        )


def most_after_up(rules: ScalingRules, current: int, changed: Callable[[int], int]) -> int:
    """Returns how many replicas scaling up may reach.

    Args:
        rules: of scaling up.
        current: replicas now.
        changed: replicas added net of those removed within the last so many seconds.
    """
    if rules.select == "Disabled":
        return current
    reached = [
        _more(policy, current - changed(policy.period_seconds)) for policy in rules.policies
    ]  # the change counts from the start of the period
    return max(max(reached) if rules.select == "Max" else min(reached), current)


def fewest_after_down(rules: ScalingRules, current: int, changed: Callable[[int], int]) -> int:
    """Returns how few replicas scaling down may reach; see `most_after_up`."""
    if rules.select == "Disabled":
        return current
    reached = [_fewer(policy, current - changed(policy.period_seconds)) for policy in rules.policies]
    return min(min(reached) if rules.select == "Max" else max(reached), current)


def _more(policy: ScalingPolicy, start: int) -> int:
    if policy.kind == "Pods":
        return start + policy.value
    return math.ceil(start * (1 + policy.value / 100))  # rounded up, so that it moves at all


def _fewer(policy: ScalingPolicy, start: int) -> int:
    return start - policy.value if policy.kind == "Pods" else int(start * (1 - policy.value / 100))


def _rules(given: Any, default: ScalingRules, name: str) -> ScalingRules:
    if given is None:
        return default
    if not isinstance(given, Mapping):
        raise _wrong(name, "is not a mapping")
    window = _whole(given, "stabilizationWindowSeconds", default.window_seconds, 0, 3600, name)
    select = given.get("selectPolicy", default.select)
    if select not in SELECT:
        raise _wrong(f"{name}.selectPolicy", f"is not one of {', '.join(SELECT)}")
    policies = given.get("policies")
    read = default.policies if not policies else _policies(policies, f"{name}.policies")
    return ScalingRules(window, read, select, _tolerance(given.get("tolerance", default.tolerance), name))


def _policies(given: Any, name: str) -> tuple[ScalingPolicy, ...]:
    if not isinstance(given, Sequence) or not all(isinstance(one, Mapping) for one in given):
        raise _wrong(name, "is not a list of mappings")
    policies = []
    for number, one in enumerate(given):
        where = f"{name}[{number}]"
        if one.get("type") not in POLICY_TYPES:
            raise _wrong(f"{where}.type", "is not Pods or Percent")
        value = _whole(one, "value", None, 1, 2**31 - 1, where)
        policies.append(ScalingPolicy(one["type"], value, _whole(one, "periodSeconds", None, 1, 1800, where)))
    return tuple(policies)


def _whole(given: Mapping[str, Any], key: str, default: int | None, low: int, high: int, where: str) -> int:
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(f"{where}.{key}", f"is not a whole number from {low} to {high}")
    return value


def _tolerance(value: Any, name: str) -> float:
    try:
        tolerance = float(value)
    except (TypeError, ValueError) as error:
        raise _wrong(f"{name}.tolerance", "is not a number") from error
    if not 0 <= tolerance < math.inf:
        raise _wrong(f"{name}.tolerance", "is negative or not finite")
    return tolerance


def _wrong(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"behavior.{field} {problem}.",
        field=f"behavior.{field}",
        remedy="Write it as the autoscaling/v2 reference of HorizontalPodAutoscalerBehavior has it.",
    )
