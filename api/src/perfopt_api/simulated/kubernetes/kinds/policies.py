"""Autoscalers, disruption budgets, leases, roles and definitions of custom resources."""

from dataclasses import replace

from perfopt_api.simulated.kubernetes import defaults
from perfopt_api.simulated.kubernetes.autoscaling import first_version
from perfopt_api.simulated.kubernetes.kinds.resource import Resource
from perfopt_api.simulated.kubernetes.schema import (
    ATOMIC_LIST,
    BOOL,
    FREE,
    INT,
    INT_OR_STRING,
    LONG,
    MICRO_TIME,
    SELECTOR,
    STRING,
    TIME,
    ListOf,
    MapOf,
    conditions,
    kind_schema,
    struct,
)

_TARGET_REFERENCE = struct("CrossVersionObjectReference", apiVersion=STRING, kind=STRING, name=STRING)
AUTOSCALER = Resource(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    kind_schema(
        "HorizontalPodAutoscaler",
        spec=struct(
            "HorizontalPodAutoscalerSpec",
            scaleTargetRef=_TARGET_REFERENCE,
            minReplicas=INT,
            maxReplicas=INT,
            metrics=ATOMIC_LIST,
            behavior=FREE,
        ),
        status=struct(
            "HorizontalPodAutoscalerStatus",
            observedGeneration=LONG,
            lastScaleTime=TIME,
            currentReplicas=INT,
            desiredReplicas=INT,
            currentMetrics=ATOMIC_LIST,
            conditions=conditions(),
        ),
        always=("spec", "status"),
    ),
    skeleton={
        "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 0},
        "status": {"desiredReplicas": 0, "currentMetrics": None},
    },
    subresources=frozenset({"status"}),
    fill=defaults.autoscaler,
    short_names=("hpa",),
    categories=("all",),
)
AUTOSCALER_V1 = replace(AUTOSCALER, version="v1", view=first_version)
DISRUPTION_BUDGET = Resource(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    kind_schema(
        "PodDisruptionBudget",
        spec=struct(
            "PodDisruptionBudgetSpec",
            minAvailable=INT_OR_STRING,
            maxUnavailable=INT_OR_STRING,
            selector=SELECTOR,
            unhealthyPodEvictionPolicy=STRING,
        ),
        status=struct(
            "PodDisruptionBudgetStatus",
            observedGeneration=LONG,
            disruptedPods=MapOf(STRING),
            disruptionsAllowed=INT,
            currentHealthy=INT,
            desiredHealthy=INT,
            expectedPods=INT,
            conditions=conditions(),
        ),
        always=("spec", "status"),
    ),
    skeleton={
        "spec": {},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    },
    subresources=frozenset({"status"}),
    generation="spec",
    short_names=("pdb",),
)
LEASE = Resource(
    "coordination.k8s.io",
    "v1",
    "leases",
    "Lease",
    kind_schema(
        "Lease",
        spec=struct(
            "LeaseSpec",
            holderIdentity=STRING,
            leaseDurationSeconds=INT,
            acquireTime=MICRO_TIME,
            renewTime=MICRO_TIME,
            leaseTransitions=INT,
            strategy=STRING,
            preferredHolder=STRING,
        ),
        always=("spec",),
    ),
    skeleton={"spec": {}},
    unversioned_update=False,
)
_RULES = kind_schema("Role", rules=ATOMIC_LIST, aggregationRule=FREE)
_BINDING = kind_schema("RoleBinding", roleRef=MapOf(FREE, atomic=True), subjects=ATOMIC_LIST)
_RBAC = "rbac.authorization.k8s.io"
ROLE = Resource(_RBAC, "v1", "roles", "Role", _RULES)
CLUSTER_ROLE = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", _RULES, namespaced=False)
ROLE_BINDING = Resource(_RBAC, "v1", "rolebindings", "RoleBinding", _BINDING)
CLUSTER_ROLE_BINDING = Resource(
    _RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", _BINDING, namespaced=False
)
DEFINITION = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    kind_schema(
        "CustomResourceDefinition",
        spec=struct(
            "CustomResourceDefinitionSpec",
            group=STRING,
            names=FREE,
            scope=STRING,
            versions=ATOMIC_LIST,
            conversion=FREE,
            preserveUnknownFields=BOOL,
        ),
        status=struct(
            "CustomResourceDefinitionStatus",
            conditions=conditions(),
            acceptedNames=FREE,
            storedVersions=ListOf(STRING),
        ),
        always=("spec",),
    ),
    namespaced=False,
    skeleton={"spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": None}},
    subresources=frozenset({"status"}),
    generation="spec",
    fill=defaults.definition,
    short_names=("crd", "crds"),
)
