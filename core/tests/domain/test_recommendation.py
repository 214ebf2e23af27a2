"""Names and order of the contract's fields, and that every struct survives JSON."""

from datetime import UTC, datetime

import msgspec
import pytest

from perfopt.domain.enums import Basis, DeclineCode, OptimizationStatus, OptimizationType
from perfopt.domain.event import (
    ExpectedImprovementData,
    OptimizationRecommendationData,
    OptimizationRecommendationGenerated,
    ResourceStateData,
)
from perfopt.domain.job import OptimizationJob
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import (
    AnalysisResult,
    AnalysisWarning,
    Coverage,
    Declined,
    Evidence,
    ExpectedImprovement,
    OptimizationRecommendation,
    PredictionSeries,
    Reason,
    ReplayWindow,
)
from perfopt.domain.request import PerformanceAnalysisRequest, requested_types
from perfopt.domain.workload import Container, HpaState, Slo, Workload, WorkloadId, WorkloadState
from perfopt.testing import make_recommendation

AT = datetime(2025, 6, 21, 10, tzinfo=UTC)

SEED = {
    PerformanceAnalysisRequest: [
        "service_name",
        "optimization_types",
        "analysis_period",
        "include_predictions",
        "auto_apply",
    ],
    OptimizationRecommendation: [
        "recommendation_id",
        "service_name",
        "optimization_type",
        "description",
        "current_state",
        "recommended_state",
        "expected_improvement",
    ],
    ExpectedImprovement: [
        "performance_gain_percent",
        "cost_reduction_percent",
        "latency_reduction_ms",
        "confidence",
    ],
    OptimizationJob: ["job_id", "service_name", "optimization_type", "status", "recommendations"],
    OptimizationRecommendationGenerated: ["event_id", "timestamp", "optimization_recommendation"],
}
EVENT_FIELDS = {
    OptimizationRecommendationData: [
        "recommendation_id",
        "service_name",
        "optimization_type",
        "description",
        "current_state",
        "recommended_state",
        "expected_improvement",
    ],
    ResourceStateData: ["cpu_request", "memory_request", "replicas"],
    ExpectedImprovementData: ["performance_gain_percent", "cost_reduction_percent", "confidence"],
}


@pytest.mark.parametrize("struct", SEED)
def test_the_seeds_fields_come_first_and_in_its_order(struct):
    assert list(struct.__struct_encode_fields__)[: len(SEED[struct])] == SEED[struct]


@pytest.mark.parametrize("struct", EVENT_FIELDS)
def test_an_event_carries_the_seeds_fields_and_no_others(struct):
    assert list(struct.__struct_encode_fields__) == EVENT_FIELDS[struct]


def test_the_seeds_enumerations():
    assert [kind.value for kind in OptimizationType] == [
        "RESOURCE_OPTIMIZATION",
        "PERFORMANCE_TUNING",
        "SCALING_OPTIMIZATION",
        "COST_OPTIMIZATION",
        "LATENCY_OPTIMIZATION",
    ]
    assert [status.value for status in OptimizationStatus] == [
        "ANALYZING",
        "RECOMMENDATIONS_READY",
        "APPLYING",
        "APPLIED",
        "FAILED",
        "ROLLED_BACK",
    ]


def recommendation():
    now = Container(name="main", cpu_request_cores=0.5, memory_request_bytes=2**30)
    then = Container(name="main", cpu_request_cores=0.3, memory_request_bytes=800 * 2**20)
    state = WorkloadState(containers=(now,), replicas=3)
    target = WorkloadState(containers=(then,), replicas=4)
    window = ReplayWindow(made_at=AT, scored_until=AT, outcome="accurate", accurate=True)
    predicted = PredictionSeries(unit="cores", start=AT, step_seconds=300, quantiles={"0.5": [1.0]})
    return make_recommendation(
        recommendation_id="opt_20250621_001",
        service_name="portfolio_management_service",
        description="Optimize memory allocation and CPU requests",
        current_state=state.to_map(),
        recommended_state=target.to_map(),
        performance_gain_percent=15.0,
        workload="trading/deployment/portfolio-management-service",
        plugin="resource/quantile",
        made_at=AT,
        valid_until=AT,
        reasons=(Reason(code="peak", text="The peak was 0.27 cores.", data={"cores": 0.27}),),
        evidence=Evidence(windows=(window,)),
        currency="EUR",
        monthly_cost_current=10.0,
        monthly_cost_recommended=None,
        coverage={"main/cpu_cores": Coverage(expected=10, present=9, fraction=0.9, dropped={"nan": 1})},
        predictions={"main/cpu_cores": predicted},
    )


ROUND_TRIPS = [
    recommendation(),
    AnalysisResult(
        service_name="web",
        workload="web",
        recommendations=(recommendation(),),
        declined=(
            Declined(
                optimization_type=OptimizationType.COST_OPTIMIZATION,
                code=DeclineCode.NO_STRATEGY,
                reason="None.",
            ),
        ),
        warnings=(AnalysisWarning(code="short_history", message="Little history."),),
    ),
    OptimizationJob(
        job_id="1",
        service_name="web",
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        status=OptimizationStatus.RECOMMENDATIONS_READY,
        recommendations=(recommendation(),),
        created_at=AT,
    ),
    PerformanceAnalysisRequest(service_name="web", analysis_period="24h"),
    Workload(
        id=WorkloadId(name="web", namespace="trading", kind="Deployment"),
        service_name="web",
        state=WorkloadState(
            containers=(Container(name="main", image="web:1"),),
            basis=Basis.ASSUMED_FROM_LIMIT,
            hpa=HpaState(max_replicas=5, other_metrics=("queue",)),
            extra={"knobs": {"GOMAXPROCS": 2}},
        ),
        slo=Slo(latency_ms=250.0),
    ),
]


@pytest.mark.parametrize("value", ROUND_TRIPS, ids=lambda value: type(value).__name__)
def test_structs_survive_json(value):
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_the_event_is_the_seeds_example():
    event = OptimizationRecommendationGenerated(
        event_id="uuid",
        timestamp="2025-06-21T10:00:00.000Z",
        optimization_recommendation=OptimizationRecommendationData.from_recommendation(recommendation()),
    )
    assert msgspec.to_builtins(event) == {
        "event_id": "uuid",
        "timestamp": "2025-06-21T10:00:00.000Z",
        "optimization_recommendation": {
            "recommendation_id": "opt_20250621_001",
            "service_name": "portfolio_management_service",
            "optimization_type": "RESOURCE_OPTIMIZATION",
            "description": "Optimize memory allocation and CPU requests",
            "current_state": {"cpu_request": "500m", "memory_request": "1Gi", "replicas": 3},
            "recommended_state": {"cpu_request": "300m", "memory_request": "800Mi", "replicas": 4},
            "expected_improvement": {
                "performance_gain_percent": 15.0,
                "cost_reduction_percent": 12.0,
                "confidence": 0.87,
            },
        },
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"service_name": "web", "colour": 1}', "unknown field `colour`"),
        ('{"service_name": 7}', "Expected `str`, got `int`"),
        ('{"service_name": "web", "optimization_types": ["SPEED"]}', "Invalid enum value 'SPEED'"),
        ('{"service_name": "web", "include_predictions": "yes"}', "Expected `bool`, got `str`"),
        ('{"service_name": ""}', "length >= 1"),
        ("{}", "missing required field `service_name`"),
    ],
)
def test_a_wrong_request_is_refused(body, says):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.json.decode(body, type=PerformanceAnalysisRequest)


def test_no_type_means_all_five_and_a_repeated_one_counts_once():
    kind = OptimizationType.COST_OPTIMIZATION
    assert requested_types(PerformanceAnalysisRequest(service_name="web")) == tuple(OptimizationType)
    twice = PerformanceAnalysisRequest(service_name="web", optimization_types=(kind, kind))
    assert requested_types(twice) == (kind,)


def test_a_state_map_sums_containers_and_leaves_out_what_is_unknown():
    state = WorkloadState(
        containers=(
            Container(name="app", cpu_request_cores=0.25, memory_request_bytes=2**29, cpu_limit_cores=1.0),
            Container(name="proxy", cpu_request_cores=0.05, memory_request_bytes=2**27),
        ),
        basis=Basis.ASSUMED_FROM_LIMIT,
    )
    assert state.to_map() == {
        "cpu_request": "300m",
        "memory_request": "640Mi",
        "containers": {
            "app": {"cpu_request": "250m", "memory_request": "512Mi", "cpu_limit": "1"},
            "proxy": {"cpu_request": "50m", "memory_request": "128Mi"},
        },
        "basis": "assumed_from_limit",
    }


def test_a_monthly_cost_is_730_hours_of_all_replicas_requests():
    book = PriceBook(name="x", currency="EUR", cpu_core_hour=0.02, memory_gib_hour=0.01)
    container = Container(name="main", cpu_request_cores=0.5, memory_request_bytes=2**31)
    state = WorkloadState(containers=(container,), replicas=3)
    assert book.monthly_cost(state) == pytest.approx(3 * (0.5 * 0.02 + 2 * 0.01) * 730)
    assert book.monthly_cost(WorkloadState(containers=(Container(name="main"),))) is None


def test_the_behaviour_of_an_autoscaler_stands_in_the_state_as_kubernetes_writes_it():
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    hpa = HpaState(max_replicas=5, behavior=behavior)
    assert WorkloadState(containers=(), hpa=hpa).to_map()["hpa"] == {"max_replicas": 5, "behavior": behavior}
    assert "behavior" not in WorkloadState(containers=(), hpa=HpaState(max_replicas=5)).to_map()["hpa"]
