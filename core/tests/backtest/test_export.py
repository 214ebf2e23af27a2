import pytest

from perfopt.backtest.export import to_arrow, to_frame
from perfopt.evaluation.savings import RequestedAmount


@pytest.fixture
def rows(evaluated):
    return [
        evaluated(
            "a", cpu=(1.5, 1.0), memory=(30.0, 10.0), confidence=0.9, cost=RequestedAmount(4.0, 2.0, 1.0)
        ),
        evaluated("b", cpu=(1.0, 2.0), no_change=True),
        evaluated("c", policy="plan", optimization_type=None, outcome="declined", code="no_data"),
    ]


def test_each_recommendation_is_a_row_with_its_quantities_spread(rows):
    first, second, plan = to_arrow(rows).to_pylist()
    assert (first["service"], first["outcome"], first["cpu_safe"]) == ("a", "accurate", True)
    assert (first["cpu_recommended"], first["cpu_needed"], first["memory_needed"]) == (1.5, 1.0, 10.0)
    assert (first["cost_current"], first["cost_recommended"], first["cost_minimum"]) == (4.0, 2.0, 1.0)
    assert (second["memory_safe"], second["cost_current"], second["no_change"]) == (None, None, True)
    assert (plan["optimization_type"], plan["code"], plan["cpu_used"]) == ("PLAN", "no_data", None)
    assert first["made_at"] == rows[0].made_at


def test_a_frame_has_the_same_columns(rows):
    pytest.importorskip("pandas")
    frame = to_frame(rows)
    assert list(frame.columns) == to_arrow(rows).column_names
    assert frame["cpu_recommended"].iloc[0] == 1.5
