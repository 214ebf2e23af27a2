from datetime import UTC, datetime

import pytest

from perfopt.backtest.conditional import conditional_calibration
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.domain.enums import OptimizationType


def evaluated(outcome="accurate", confidence=0.9, **known):
    return EvaluatedRecommendation(
        service="a",
        service_class="standard",
        made_at=datetime(2026, 1, 5, tzinfo=UTC),
        policy="p",
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        outcome=outcome,
        confidence=confidence,
        **known,
    )


def groups(rows, way):
    return {name: one.count for name, one in conditional_calibration(rows, lambda _: None)[way].items()}


def test_confidence_stands_beside_the_accuracy_of_its_group():
    rows = [evaluated(own_hit_rate=0.0, confidence=0.8), evaluated("inaccurate", 0.6, own_hit_rate=0.0)]
    found = conditional_calibration(rows, lambda _: "low")
    none = found["own hit rate"]["none"]
    assert (none.count, none.confidence, none.accuracy) == (2, pytest.approx(0.7), 0.5)
    assert found["load"]["low"].count == 2


def test_groups_are_of_what_a_service_s_own_windows_showed():
    rates = (None, 0.0, 0.4, 0.5, 0.9, 1.0)
    assert groups([evaluated(own_hit_rate=rate) for rate in rates], "own hit rate") == {
        "no backtest": 1, "none": 1, "under half": 1, "half or more": 2, "all": 1,
    }  # fmt: skip


def test_groups_are_of_history_and_of_how_much_changes():
    rows = [evaluated(short_history=True, expected_saving=saving) for saving in (-0.1, 0.0, 0.5, 0.8, None)]
    assert groups(rows, "history") == {"short": 5}
    assert groups(rows, "change of cost") == {"dearer": 1, "up to half": 1, "half to 80 %": 1, "over 80 %": 1}
    assert groups([evaluated()], "load") == {}


def test_what_was_not_scored_or_states_none_is_in_no_group():
    assert conditional_calibration([evaluated("declined"), evaluated(confidence=None)], lambda _: "x") == {}
