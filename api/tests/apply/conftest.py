"""A recommendation for a workload with two containers, and Kubernetes' strategic merge of a patch."""

import copy

import pytest
from memory_cluster import MemoryCluster

from perfopt.domain.recommendation import (
    OptimizationRecommendation,
)
from perfopt.testing import make_recommendation

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
    states = {"current_state": CURRENT, "recommended_state": WANTED}
    return make_recommendation(**(states | changes))


@pytest.fixture(scope="session")
def make():
    """Makes a recommendation for two containers, with some fields changed."""
    return _made


@pytest.fixture
def states():
    """Its current and its recommended state."""
    return copy.deepcopy(CURRENT), copy.deepcopy(WANTED)


@pytest.fixture
def cluster():
    return MemoryCluster()


@pytest.fixture
def target(cluster):
    return cluster.add()
