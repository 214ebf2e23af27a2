"""How much sizes move from one day's recommendation to the next day's. Pure."""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

import msgspec

from perfopt.backtest.evaluated import EvaluatedRecommendation

DAY = timedelta(days=1)
MOVED = 1.1
"""Factor from which on a size has moved."""
NEWS = 1.02
"""Factor from which on the P99 of the CPU history has changed: the day between brought news."""


class StabilityFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of CPU and memory beside those recommended for the same service a day later.

    Attributes:
        sizes: pairs of them; moved: share that differs by over 10 %; largest: factor between any two.
        quiet: pairs whose history had much the same P99 of CPU a day later.
        quiet_moved: share of these that differs by over 10 %; None where there are none.
    """

    sizes: int
    moved: float
    largest: float
    quiet: int
    quiet_moved: float | None


def stability(rows: Sequence[EvaluatedRecommendation]) -> StabilityFigures | None:
    """Returns how stable the sizes of one policy are; None without recommendations a day apart.

    Args:
        rows: of one policy.
    """
    moves = [
        (abs(math.log(after / before)), quiet)
        for one, later in _a_day_apart(rows)
        for before, after, quiet in _sizes(one, later)
    ]
    if not moves:
        return None
    calm = [move for move, quiet in moves if quiet]
    return StabilityFigures(
        sizes=len(moves),
        moved=_moved([move for move, _ in moves]),
        largest=math.exp(max(move for move, _ in moves)),
        quiet=len(calm),
        quiet_moved=_moved(calm) if calm else None,
    )


def _moved(moves: Sequence[float]) -> float:
    return sum(move > math.log(MOVED) for move in moves) / len(moves)


def _a_day_apart(
    rows: Sequence[EvaluatedRecommendation],
) -> Iterator[tuple[EvaluatedRecommendation, EvaluatedRecommendation]]:
    ordered = sorted((one for one in rows if one.scored), key=lambda one: (one.service, one.made_at))
    for one, later in pairwise(ordered):
        if one.service == later.service and later.made_at - one.made_at == DAY:
            yield one, later


def _sizes(
    one: EvaluatedRecommendation, later: EvaluatedRecommendation
) -> Iterator[tuple[float, float, bool]]:
    quiet = bool(one.level and later.level) and 1 / NEWS <= (later.level or 0) / (one.level or 1) <= NEWS
    for before, after in ((one.cpu, later.cpu), (one.memory, later.memory)):
        if before is not None and after is not None:
            yield before.recommended, after.recommended, quiet
