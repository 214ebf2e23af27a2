"""A recommendation for a workload with two containers, and Kubernetes' strategic merge of a patch."""

import copy
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    ConfidenceDetail,
    Evidence,
    ExpectedImprovement,
    OptimizationRecommendation,
)

# Merge keys of the lists that a patch of ours passes through (types.go of k8s.io/api: patchMergeKey).
MERGE_KEYS = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name"}


def merge(live, patch, field=""):
    """Applies a strategic-merge patch: maps merge, null removes, lists with a merge key merge by it."""
    if isinstance(live, dict) and isinstance(patch, dict):
        merged = dict(live)
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = merge(merged.get(key), value, key)
        return merged
    if isinstance(live, list) and isinstance(patch, list) and field in MERGE_KEYS:
        name = MERGE_KEYS[field]
        changes = {item[name]: item for item in patch}
        known = {item[name] for item in live}
        kept = [merge(item, changes[item[name]]) if item[name] in changes else item for item in live]
        return kept + [merge({}, item) for item in patch if item[name] not in known]
    if isinstance(patch, dict):
        return merge({}, patch)
    return copy.deepcopy(patch)


@pytest.fixture
def strategic_merge():
    """The merge that the Kubernetes API server does."""
    return merge


CURRENT = {
    "replicas": 3,
    "containers": {
        "app": {"cpu_request": "500m", "memory_request": "1Gi", "cpu_limit": "1", "memory_limit": "2Gi"},
        "proxy": {"cpu_request": "100m", "memory_request": "128Mi"},
    },
}
WANTED = {
    "replicas": 4,
    "containers": {
        "app": {"cpu_request": "300m", "memory_request": "800Mi", "memory_limit": "1Gi"},
        "proxy": {"cpu_request": "50m", "memory_request": "128Mi"},
    },
}


def _made(**changes) -> OptimizationRecommendation:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    base = OptimizationRecommendation(
        recommendation_id="opt_20261123_001",
        service_name="order_gateway",
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        description="Lower it.",
        current_state=CURRENT,
        recommended_state=WANTED,
        expected_improvement=ExpectedImprovement(
            performance_gain_percent=0, cost_reduction_percent=10, latency_reduction_ms=0, confidence=0.9
        ),
        workload="trading/deployment/order-gateway",
        plugin="resource",
        made_at=now,
        valid_until=now + timedelta(days=7),
        already_right=False,
        reasons=(),
        confidence_detail=ConfidenceDetail(
            n_effective=1, accurate_share=1, prior=0.5, prior_strength=2, prior_source="none"
        ),
        evidence=Evidence(windows=()),
        price_book="p",
        currency="USD",
        monthly_cost_current=None,
        monthly_cost_recommended=None,
        coverage={},
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture(scope="session")
def make():
    """Makes a recommendation for two containers, with some fields changed."""
    return _made


@pytest.fixture
def states():
    """Its current and its recommended state."""
    return copy.deepcopy(CURRENT), copy.deepcopy(WANTED)
