"""Whether confidence means what it says within groups of recommendations, not only over all of them. Pure."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from perfopt.backtest.evaluated import EvaluatedRecommendation

MIN_GROUP = 200
"""Recommendations from which on a group is shown: with fewer its accuracy is mostly chance."""


class ConfidenceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The scored recommendations of a group that state a confidence.

    Attributes:
        count: how many.
        confidence: mean; accuracy: share that was accurate.
    """

    count: int
    confidence: float
    accuracy: float


def conditional_calibration(
    rows: Sequence[EvaluatedRecommendation], load: Callable[[EvaluatedRecommendation], str | None]
) -> dict[str, dict[str, ConfidenceGroup]]:
    """Returns confidence and accuracy by own hit rate, length of history, load and size of the change.

    Args:
        rows: of one policy.
        load: the tercile of load that one is in, None where that is unknown.
    """
    stated = [one for one in rows if one.scored and one.confidence is not None]
    ways: Mapping[str, Callable[[EvaluatedRecommendation], str | None]] = {
        "own hit rate": _own_hits,
        "history": lambda one: "short" if one.short_history else "whole",
        "load": load,
        "change of cost": _change,
    }
    return {name: _grouped(stated, group) for name, group in ways.items()} if stated else {}


def _own_hits(one: EvaluatedRecommendation) -> str:
    rate = one.own_hit_rate
    if rate is None:
        return "no backtest"
    if rate in (0.0, 1.0):
        return "none" if rate == 0 else "all"
    return "under half" if rate < 0.5 else "half or more"


def _change(one: EvaluatedRecommendation) -> str | None:
    saving = one.expected_saving
    if saving is None:
        return None
    if saving < 0:
        return "dearer"
    return "up to half" if saving < 0.5 else "half to 80 %" if saving < 0.8 else "over 80 %"


def _grouped(
    rows: Sequence[EvaluatedRecommendation], group: Callable[[EvaluatedRecommendation], str | None]
) -> dict[str, ConfidenceGroup]:
    parts: dict[str, list[EvaluatedRecommendation]] = {}
    for one in rows:
        name = group(one)
        if name is not None:
            parts.setdefault(name, []).append(one)
    return {name: _figures(part) for name, part in sorted(parts.items())}


def _figures(part: Sequence[EvaluatedRecommendation]) -> ConfidenceGroup:
    stated = [one.confidence for one in part if one.confidence is not None]
    return ConfidenceGroup(
        count=len(part),
        confidence=sum(stated) / len(stated),
        accuracy=sum(one.outcome == "accurate" for one in part) / len(part),
    )
