"""Builds recommendations for the tests of what shows, stores or applies them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    ConfidenceDetail,
    Evidence,
    ExpectedImprovement,
    OptimizationRecommendation,
)

_MADE_AT = datetime(2026, 11, 23, tzinfo=UTC)
_BASE = OptimizationRecommendation(
    recommendation_id="opt_20261123_001",
    service_name="order_gateway",
    optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
    description="Lower the CPU request from 500m to 300m.",
    current_state={
        "cpu_request": "500m",
        "memory_request": "1Gi",
        "replicas": 3,
        "containers": {"main": {"cpu_request": "500m", "memory_request": "1Gi"}},
    },
    recommended_state={
        "cpu_request": "300m",
        "memory_request": "1Gi",
        "replicas": 3,
        "containers": {"main": {"cpu_request": "300m", "memory_request": "1Gi"}},
    },
    expected_improvement=ExpectedImprovement(
        performance_gain_percent=0.0, cost_reduction_percent=12.0, latency_reduction_ms=0.0, confidence=0.87
    ),
    workload="trading/deployment/order-gateway",
    plugin="resource",
    made_at=_MADE_AT,
    valid_until=_MADE_AT + timedelta(days=7),
    no_change_needed=False,
    reasons=(),
    confidence_detail=ConfidenceDetail(
        n_effective=4.0, accurate_share=1.0, prior=0.8, prior_strength=2.0, prior_source="measured"
    ),
    evidence=Evidence(windows=()),
    price_book="example",
    currency="USD",
    monthly_cost_current=20.0,
    monthly_cost_recommended=17.6,
    coverage={},
)


def make_recommendation(**changes: Any) -> OptimizationRecommendation:
    """Returns a recommendation that lowers a CPU request, changed where a test needs it otherwise.

    Args:
        changes: fields of the recommendation to their values; those of `ExpectedImprovement` are given by
            their own names ("confidence", "cost_reduction_percent", ...).
    """
    improved = {name: changes.pop(name) for name in _IMPROVEMENT if name in changes}
    recommendation = msgspec.structs.replace(_BASE, **changes)
    expected: ExpectedImprovement = msgspec.structs.replace(recommendation.expected_improvement, **improved)
    return msgspec.structs.replace(recommendation, expected_improvement=expected)


_IMPROVEMENT = ExpectedImprovement.__struct_fields__
