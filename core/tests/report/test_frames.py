"""One row a changed field, with costs once a service."""

from datetime import UTC, datetime

import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    ConfidenceDetail,
    Evidence,
    ExpectedImprovement,
    ExpectedValue,
    OptimizationRecommendation,
    ReplayWindow,
)
from perfopt.report.frames import SCHEMA, to_arrow, to_frame

AT = datetime(2026, 11, 8, tzinfo=UTC)
GIB = 2**30


def state(cpu, memory, **more):
    own = {"cpu_request": cpu, "memory_request": memory} if memory else {"cpu_request": cpu}
    return {**own, "replicas": 2, "containers": {"main": own}, **more}


def window(accurate):
    return ReplayWindow(made_at=AT, scored_until=AT, outcome="accurate", accurate=accurate)


def result(service, current, recommended, worth, outcomes=(), **costs):
    recommendation = OptimizationRecommendation(
        recommendation_id=f"opt_{service}",
        service_name=service,
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        description="",
        current_state=current,
        recommended_state=recommended,
        expected_improvement=ExpectedImprovement(
            performance_gain_percent=0.0, cost_reduction_percent=0.0, latency_reduction_ms=0.0, confidence=0.9
        ),
        workload=service,
        plugin="resource/resource",
        made_at=AT,
        valid_until=AT,
        reasons=(),
        confidence_detail=ConfidenceDetail(
            n_effective=1.5, accurate_share=None, prior=0.9, prior_strength=2.0, prior_source="measured"
        ),
        evidence=Evidence(
            windows=tuple(
                ReplayWindow(made_at=AT, scored_until=AT, outcome="accurate", accurate=one)
                for one in outcomes
            )
        ),
        price_book="onprem",
        currency="EUR",
        monthly_cost_current=costs.get("before"),
        monthly_cost_recommended=costs.get("after"),
        coverage={},
        expected_value=ExpectedValue(saving=worth, risk=0.0, total=worth),
    )
    return AnalysisResult(
        service_name=service, workload=service, recommendations=(recommendation,), declined=(), warnings=()
    )


@pytest.fixture
def results():
    return [
        result("small", state("1", None), state("1", "1Gi", schedule=[1]), 1.0),
        result("same", state("1", "1Gi"), state("1", "1Gi"), 5.0),
        result(
            "large",
            state("2", "4Gi"),
            state("500m", "1Gi"),
            9.0,
            (True, True, False, None),
            before=90.0,
            after=30.0,
        ),
    ]


def test_services_worth_most_come_first_with_a_row_a_field(results):
    rows = to_arrow(results).to_pylist()
    assert [(row["service"], row["container"], row["field"]) for row in rows] == [
        ("large", "main", "cpu request"),
        ("large", "main", "memory request"),
        ("small", "main", "memory request"),
        ("small", None, "schedule"),
    ]
    first = rows[0]
    assert (first["current"], first["recommended"]) == ("2", "500m")
    assert (first["current_value"], first["recommended_value"]) == (2.0, 0.5)
    assert (first["type"], first["severity"], first["confidence"]) == ("resource", "lower", 0.9)
    assert (first["backtest_accurate"], first["backtest_scored"], first["n_effective"]) == (2, 3, 1.5)
    assert first["hit_rate"] == pytest.approx(2 / 3)
    assert rows[1]["current_value"] == 4 * GIB


def test_what_is_unset_unknown_or_no_number_is_null(results):
    memory, schedule = to_arrow(results).to_pylist()[2:]
    assert (memory["current"], memory["current_value"], memory["recommended_value"]) == (None, None, GIB)
    assert (memory["hit_rate"], memory["backtest_scored"]) == (None, 0)
    assert (schedule["recommended"], schedule["recommended_value"]) == ("1 entry", None)


def test_costs_stand_once_so_that_sums_are_right(results):
    table = to_arrow(results).to_pydict()
    assert table["monthly_cost_current"] == [90.0, None, None, None]
    assert table["monthly_cost_recommended"] == [30.0, None, None, None]
    assert table["expected_value"] == [9.0, None, 1.0, None]
    assert table["assumed_from_limit"] == [False, None, False, None]


def test_a_frame_has_the_same_columns_and_rows(results):
    pytest.importorskip("pandas")
    frame = to_frame(results)
    assert list(frame.columns) == SCHEMA.names
    assert frame["recommended_value"].iloc[0] == 0.5
    assert to_frame([]).empty
