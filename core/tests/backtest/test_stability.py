from datetime import UTC, datetime, timedelta

import pytest

from perfopt.backtest.evaluated import EvaluatedRecommendation, ResourceUse
from perfopt.backtest.stability import stability
from perfopt.domain.enums import OptimizationType


def recommended(cores, day, service="a", level=1.0, outcome="accurate"):
    return EvaluatedRecommendation(
        service=service,
        service_class="standard",
        made_at=datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=day),
        policy="p",
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        outcome=outcome,
        level=level,
        cpu=ResourceUse(safe=True, recommended=cores, needed=1.0, used=1.0),
    )


def test_sizes_a_day_apart_are_compared_by_service():
    rows = [recommended(1.0, 0), recommended(1.05, 1), recommended(0.5, 2), recommended(9.0, 1, "b")]
    found = stability(rows)
    assert (found.sizes, found.moved, found.largest) == (2, 0.5, pytest.approx(2.1))


def test_a_move_of_more_than_a_tenth_counts_either_way():
    moved = [stability([recommended(1.0, 0), recommended(size, 1)]).moved for size in (1.09, 1.11, 0.92, 0.9)]
    assert moved == [0, 1, 0, 1]


def test_a_day_that_changed_the_history_brought_news():
    rows = [recommended(1.0, 0), recommended(2.0, 1, level=1.03), recommended(2.0, 2, level=1.04)]
    found = stability(rows)
    assert (found.sizes, found.quiet, found.moved, found.quiet_moved) == (2, 1, 0.5, 0.0)
    assert stability(rows[:2]).quiet_moved is None


def test_without_recommendations_a_day_apart_there_is_nothing_to_say():
    assert stability([recommended(1.0, 0), recommended(2.0, 7)]) is None
    assert stability([recommended(1.0, 0), recommended(2.0, 1, outcome="declined")]) is None
