"""Whether subscribers need to hear of a new recommendation. Pure."""

from typing import Any

import msgspec

from perfopt.domain.quantity import parse_quantity
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import InvalidInputError

# The resource plugin recommends no change under 10 %, so nobody would act on less. Half of that keeps
# the small drift of each re-analysis silent, and publishes before it adds up to a change worth making.
MATERIAL_CHANGE = 0.05
_QUANTITIES = ("cpu_request", "memory_request", "replicas")
_OUTSIDE_THE_EVENT = frozenset({*_QUANTITIES, "cpu_limit", "memory_limit", "containers", "basis"})


class AnnouncedState(msgspec.Struct, frozen=True, kw_only=True):
    """What subscribers know of a workload and type.

    Attributes:
        quantities: cpu_request, memory_request and replicas as text; None is unknown.
        other: further keys of the recommended state (hpa, schedule, knobs, ...).
    """

    quantities: dict[str, str | None]
    already_right: bool
    other: dict[str, Any] = {}

    @classmethod
    def of(cls, recommendation: OptimizationRecommendation) -> "AnnouncedState":
        """Takes out of a recommendation what differences are measured by."""
        state = recommendation.recommended_state
        return cls(
            quantities={name: _text(state.get(name)) for name in _QUANTITIES},
            already_right=recommendation.already_right,
            other={name: value for name, value in state.items() if name not in _OUTSIDE_THE_EVENT},
        )


def differs_materially(new: AnnouncedState, old: AnnouncedState) -> bool:
    """Returns whether the new one differs enough from what was last announced to be worth an event.

    It is measured from the last announcement, not from the last recommendation: steps of 4 % each would
    otherwise add up without any event.
    """
    if new.already_right != old.already_right or new.other != old.other:
        return True
    return any(_moved(new.quantities.get(name), old.quantities.get(name)) for name in _QUANTITIES)


def _moved(new: str | None, old: str | None) -> bool:
    if new is None or old is None:
        return new != old
    try:
        before, after = float(parse_quantity(old)), float(parse_quantity(new))
    except InvalidInputError:
        return new != old
    return abs(after - before) >= MATERIAL_CHANGE * abs(before) and after != before


def _text(value: object) -> str | None:
    return None if value is None else str(value)
