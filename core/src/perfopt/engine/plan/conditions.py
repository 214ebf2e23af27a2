"""What rules did to the parts of a plan, and when the whole may be applied. Pure."""

from collections.abc import Sequence

import msgspec

from perfopt.domain.rules import ApplyConditions, FiredRule, TimeWindow
from perfopt.engine.plan.decide import MergedState
from perfopt.engine.plan.merge import MergedProposal
from perfopt.rules.windows import intersection


def fired(parts: Sequence[MergedProposal], merged: MergedState) -> tuple[FiredRule, ...]:
    """Returns all rules that fired on parts of a plan and on the whole, each record once."""
    own = (rule for part in parts for rule in part.strategy.outcome.rules)
    return tuple(dict.fromkeys((*own, *merged.fired)))


def conditions(parts: Sequence[MergedProposal], merged_state: MergedState) -> ApplyConditions | None:
    """Returns what is asked of whoever applies a plan: all that is asked for any part of it.

    Its windows are those that all parts share; None where parts that have windows share none.
    """
    together = merged_state.conditions
    for part in parts:
        merged = _both(together, part.strategy.outcome.conditions)
        if merged is None:
            return None
        together = merged
    return together


def _both(one: ApplyConditions, other: ApplyConditions) -> ApplyConditions | None:
    windows = _shared(one.allowed_windows, other.allowed_windows)
    if not windows and (one.allowed_windows or other.allowed_windows):
        return None
    return msgspec.structs.replace(
        one,
        requires_approval=one.requires_approval or other.requires_approval,
        allowed_windows=windows,
        annotations=other.annotations | one.annotations,
    )


def _shared(one: tuple[TimeWindow, ...], other: tuple[TimeWindow, ...]) -> tuple[TimeWindow, ...]:
    """Returns the windows of both, where none are is at any time."""
    return intersection(one, other) if one and other else one or other
