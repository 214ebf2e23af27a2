from datetime import UTC, datetime, timedelta

import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    ConfidenceDetail,
    Evidence,
    ExpectedImprovement,
    OptimizationRecommendation,
    Reason,
)
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.work import PostgresWorkStore

MADE_AT = datetime(2025, 6, 21, 10, tzinfo=UTC)
LEASE = timedelta(seconds=30)


@pytest.fixture
def store(database):
    return PostgresStore(database)


@pytest.fixture
def work(database):
    return PostgresWorkStore(database, base_url="https://perfopt.example")


@pytest.fixture
def recommendation():
    """Builds a recommendation; keyword arguments change the recommended state or, with `_`, other fields."""

    def build(service="vm-1", kind=OptimizationType.RESOURCE_OPTIMIZATION, already_right=False, **state):
        recommended = {"cpu_request": "300m", "memory_request": "800Mi", "replicas": 4} | state
        return OptimizationRecommendation(
            recommendation_id="opt_20250621_001",
            service_name=service,
            optimization_type=kind,
            description="Optimize memory allocation and CPU requests",
            current_state={"cpu_request": "500m", "memory_request": "1Gi", "replicas": 3, "containers": {}},
            recommended_state={key: value for key, value in recommended.items() if value is not None},
            expected_improvement=ExpectedImprovement(
                performance_gain_percent=15.0,
                cost_reduction_percent=12.0,
                latency_reduction_ms=0.0,
                confidence=0.87,
            ),
            workload=f"prod/deployment/{service}",
            plugin="resource",
            made_at=MADE_AT,
            valid_until=MADE_AT + timedelta(days=7),
            already_right=already_right,
            reasons=(Reason(code="peak", text="The peak was 280m.", data={"z": 1, "a": [1.5, None]}),),
            confidence_detail=ConfidenceDetail(
                n_effective=3.0, accurate_share=1.0, prior=0.8, prior_strength=4.0, prior_source="test"
            ),
            evidence=Evidence(windows=()),
            price_book="default",
            currency="USD",
            monthly_cost_current=12.5,
            monthly_cost_recommended=None,
            coverage={},
        )

    return build


@pytest.fixture
def result():
    def build(*made, declined=(), warnings=()):
        return AnalysisResult(
            service_name=made[0].service_name if made else "vm-1",
            workload=made[0].workload if made else "prod/deployment/vm-1",
            recommendations=made,
            declined=declined,
            warnings=warnings,
        )

    return build
