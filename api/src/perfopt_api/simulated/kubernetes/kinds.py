"""The kinds that the server has, with their fields."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from perfopt_api.simulated.kubernetes import defaults
from perfopt_api.simulated.kubernetes.autoscaling import first_version
from perfopt_api.simulated.kubernetes.schema import (
    ATOMIC_LIST,
    BOOL,
    FREE,
    INT,
    INT_OR_STRING,
    LONG,
    MICRO_TIME,
    POD_SPEC,
    QUANTITIES,
    SELECTOR,
    STRING,
    STRINGS,
    TEMPLATE,
    TIME,
    ListOf,
    MapOf,
    Struct,
    conditions,
    kind_schema,
    struct,
)
from perfopt_api.simulated.kubernetes.status import Json

_POD_TEMPLATE: Json = {"metadata": {}, "spec": {"containers": None}}


def nothing(_: Json) -> None:
    """A kind without defaults."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API.

    Attributes:
        schema: its fields.
        skeleton: what Go prints of an empty object: fields that a create does not add as a whole.
        subresources: status, scale, resize, eviction.
        generation: what raises `metadata.generation`; "" is a kind without one.
        fill: writes defaults into an object.
        unversioned_update: whether a PUT without resourceVersion overwrites.
        custom: the version of a custom resource's definition; None for a built-in kind.
        view: shows an object in this version, which can only be read; None is the version it is stored in.
    """

    group: str
    version: str
    plural: str
    kind: str
    schema: Struct
    namespaced: bool = True
    skeleton: Json = field(default_factory=dict)
    subresources: frozenset[str] = frozenset()
    generation: Literal["", "spec", "spec+annotations"] = ""
    fill: Callable[[Json], None] = nothing
    unversioned_update: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    custom: Json | None = None
    view: Callable[[Json], Json] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Under which its objects are stored."""
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """Its name for one object."""
        return self.kind.lower()


def _workload(kind: str, status: Struct, **spec: Any) -> Struct:
    common: dict[str, Any] = {
        "replicas": INT,
        "selector": SELECTOR,
        "template": TEMPLATE,
        "minReadySeconds": INT,
        "revisionHistoryLimit": INT,
    }
    always = ("template",) + (("strategy",) if "strategy" in spec else ())
    body = Struct(
        common | spec, f"{kind}Spec", always=(*always, *(n for n in ("updateStrategy",) if n in spec))
    )
    return kind_schema(kind, spec=body, status=status, always=("spec", "status"))


def _counters(name: str, *fields: str, **more: Any) -> Struct:
    counted: dict[str, Any] = dict.fromkeys(fields, INT) | {"observedGeneration": LONG}
    return Struct(counted | more, name)


_ROLLING = struct("Rolling", maxUnavailable=INT_OR_STRING, maxSurge=INT_OR_STRING, partition=INT)
_STRATEGY = struct("Strategy", type=STRING, rollingUpdate=_ROLLING)
_TIMED = conditions("lastUpdateTime")

DEPLOYMENT = Resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    _workload(
        "Deployment",
        _counters(
            "DeploymentStatus",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
            conditions=_TIMED,
        ),
        strategy=_STRATEGY,
        paused=BOOL,
        progressDeadlineSeconds=INT,
    ),
    skeleton={"spec": {"selector": None, "template": _POD_TEMPLATE, "strategy": {}}, "status": {}},
    subresources=frozenset({"status", "scale"}),
    generation="spec+annotations",
    fill=defaults.deployment,
    short_names=("deploy",),
    categories=("all",),
)
REPLICA_SET = Resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    _workload(
        "ReplicaSet",
        _counters(
            "ReplicaSetStatus",
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "terminatingReplicas",
            conditions=conditions(),
        ),
    ),
    skeleton={"spec": {"selector": None, "template": _POD_TEMPLATE}, "status": {"replicas": 0}},
    subresources=frozenset({"status", "scale"}),
    generation="spec",
    fill=defaults.replica_set,
    short_names=("rs",),
    categories=("all",),
)
STATEFUL_SET = Resource(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    _workload(
        "StatefulSet",
        _counters(
            "StatefulSetStatus",
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "collisionCount",
            currentRevision=STRING,
            updateRevision=STRING,
            conditions=conditions(),
        ),
        serviceName=STRING,
        podManagementPolicy=STRING,
        updateStrategy=_STRATEGY,
        volumeClaimTemplates=ATOMIC_LIST,
        ordinals=FREE,
        persistentVolumeClaimRetentionPolicy=FREE,
    ),
    skeleton={
        "spec": {"selector": None, "template": _POD_TEMPLATE, "updateStrategy": {}, "serviceName": ""},
        "status": {"replicas": 0, "availableReplicas": 0},
    },
    subresources=frozenset({"status", "scale"}),
    generation="spec",
    fill=defaults.stateful_set,
    short_names=("sts",),
    categories=("all",),
)
DAEMON_SET = Resource(
    "apps",
    "v1",
    "daemonsets",
    "DaemonSet",
    _workload(
        "DaemonSet",
        _counters(
            "DaemonSetStatus",
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
            conditions=conditions(),
        ),
        updateStrategy=_STRATEGY,
    ),
    skeleton={
        "spec": {"selector": None, "template": _POD_TEMPLATE, "updateStrategy": {}},
        "status": {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        },
    },
    subresources=frozenset({"status"}),
    generation="spec",
    fill=defaults.daemon_set,
    short_names=("ds",),
    categories=("all",),
)
CONTROLLER_REVISION = Resource(
    "apps",
    "v1",
    "controllerrevisions",
    "ControllerRevision",
    kind_schema("ControllerRevision", data=MapOf(FREE, atomic=True), revision=LONG),
    skeleton={"revision": 0},
)
_JOB_SPEC = struct(
    "JobSpec",
    always=("template",),
    parallelism=INT,
    completions=INT,
    activeDeadlineSeconds=LONG,
    podFailurePolicy=FREE,
    successPolicy=FREE,
    backoffLimit=INT,
    backoffLimitPerIndex=INT,
    maxFailedIndexes=INT,
    selector=SELECTOR,
    manualSelector=BOOL,
    template=TEMPLATE,
    ttlSecondsAfterFinished=INT,
    completionMode=STRING,
    suspend=BOOL,
    podReplacementPolicy=STRING,
    managedBy=STRING,
)
JOB = Resource(
    "batch",
    "v1",
    "jobs",
    "Job",
    kind_schema(
        "Job",
        spec=_JOB_SPEC,
        status=struct(
            "JobStatus",
            conditions=conditions("lastProbeTime", atomic=True),
            startTime=TIME,
            completionTime=TIME,
            active=INT,
            succeeded=INT,
            failed=INT,
            terminating=INT,
            ready=INT,
            completedIndexes=STRING,
            uncountedTerminatedPods=struct(
                "UncountedTerminatedPods",
                succeeded=ListOf(STRING, values=True),
                failed=ListOf(STRING, values=True),
            ),
        ),
        always=("spec", "status"),
    ),
    skeleton={"spec": {"template": _POD_TEMPLATE}, "status": {}},
    subresources=frozenset({"status"}),
    generation="spec",
    fill=defaults.job,
    categories=("all",),
)
CRON_JOB = Resource(
    "batch",
    "v1",
    "cronjobs",
    "CronJob",
    kind_schema(
        "CronJob",
        spec=struct(
            "CronJobSpec",
            schedule=STRING,
            timeZone=STRING,
            startingDeadlineSeconds=LONG,
            concurrencyPolicy=STRING,
            suspend=BOOL,
            jobTemplate=Struct(
                {"metadata": TEMPLATE.fields["metadata"], "spec": _JOB_SPEC},
                "JobTemplateSpec",
                always=("metadata", "spec"),
            ),
            successfulJobsHistoryLimit=INT,
            failedJobsHistoryLimit=INT,
        ),
        status=struct("CronJobStatus", active=ATOMIC_LIST, lastScheduleTime=TIME, lastSuccessfulTime=TIME),
        always=("spec", "status"),
    ),
    skeleton={
        "spec": {"schedule": "", "jobTemplate": {"metadata": {}, "spec": {"template": _POD_TEMPLATE}}},
        "status": {},
    },
    subresources=frozenset({"status"}),
    generation="spec",
    fill=defaults.cron_job,
    short_names=("cj",),
    categories=("all",),
)
_POD_STATUS = struct(
    "PodStatus",
    observedGeneration=LONG,
    phase=STRING,
    conditions=conditions("lastProbeTime"),
    message=STRING,
    reason=STRING,
    hostIP=STRING,
    hostIPs=ATOMIC_LIST,
    podIP=STRING,
    podIPs=ListOf(FREE, keys=("ip",), merge_key="ip"),
    startTime=TIME,
    qosClass=STRING,
    resize=STRING,
    nominatedNodeName=STRING,
    initContainerStatuses=ATOMIC_LIST,
    containerStatuses=ATOMIC_LIST,
    ephemeralContainerStatuses=ATOMIC_LIST,
    resources=FREE,
    allocatedResources=QUANTITIES,
)
POD = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    kind_schema("Pod", spec=POD_SPEC, status=_POD_STATUS, always=("spec", "status")),
    skeleton={"spec": {"containers": None}, "status": {}},
    subresources=frozenset({"status", "resize", "eviction", "log"}),
    generation="spec",
    fill=defaults.pod,
    short_names=("po",),
    categories=("all",),
)
NODE = Resource(
    "",
    "v1",
    "nodes",
    "Node",
    kind_schema(
        "Node",
        spec=FREE,
        status=struct(
            "NodeStatus",
            capacity=QUANTITIES,
            allocatable=QUANTITIES,
            conditions=conditions("lastHeartbeatTime"),
            addresses=ListOf(FREE, keys=("type",), merge_key="type"),
            daemonEndpoints=FREE,
            nodeInfo=FREE,
            images=ATOMIC_LIST,
            declaredFeatures=ListOf(STRING),
            config=FREE,
        ),
        always=("spec", "status"),
    ),
    namespaced=False,
    skeleton={"spec": {}, "status": {}},
    subresources=frozenset({"status"}),
    short_names=("no",),
)
NAMESPACE = Resource(
    "",
    "v1",
    "namespaces",
    "Namespace",
    kind_schema("Namespace", spec=FREE, status=FREE, always=("spec", "status")),
    namespaced=False,
    skeleton={"spec": {}, "status": {}},
    subresources=frozenset({"status"}),
    short_names=("ns",),
)
CONFIG_MAP = Resource(
    "",
    "v1",
    "configmaps",
    "ConfigMap",
    kind_schema("ConfigMap", data=STRINGS, binaryData=STRINGS, immutable=BOOL),
    short_names=("cm",),
)
SECRET = Resource(
    "",
    "v1",
    "secrets",
    "Secret",
    kind_schema("Secret", data=STRINGS, stringData=STRINGS, type=STRING, immutable=BOOL),
)
SERVICE_ACCOUNT = Resource(
    "",
    "v1",
    "serviceaccounts",
    "ServiceAccount",
    kind_schema(
        "ServiceAccount",
        secrets=ListOf(FREE, keys=("name",), merge_key="name"),
        imagePullSecrets=ATOMIC_LIST,
        automountServiceAccountToken=BOOL,
    ),
    subresources=frozenset({"token"}),
    short_names=("sa",),
)
SERVICE = Resource(
    "",
    "v1",
    "services",
    "Service",
    kind_schema("Service", spec=FREE, status=FREE, always=("spec", "status")),
    skeleton={"spec": {}, "status": {"loadBalancer": {}}},
    subresources=frozenset({"status"}),
    short_names=("svc",),
    categories=("all",),
)
EVENT = Resource(
    "",
    "v1",
    "events",
    "Event",
    kind_schema(
        "Event",
        involvedObject=MapOf(FREE, atomic=True),
        reason=STRING,
        message=STRING,
        source=FREE,
        firstTimestamp=TIME,
        lastTimestamp=TIME,
        count=INT,
        type=STRING,
        eventTime=STRING,
        reportingComponent=STRING,
        reportingInstance=STRING,
        action=STRING,
    ),
    skeleton={"source": {}},
    short_names=("ev",),
)
RESOURCE_QUOTA = Resource(
    "",
    "v1",
    "resourcequotas",
    "ResourceQuota",
    kind_schema(
        "ResourceQuota",
        spec=struct("ResourceQuotaSpec", hard=QUANTITIES, scopes=ATOMIC_LIST, scopeSelector=FREE),
        status=struct("ResourceQuotaStatus", hard=QUANTITIES, used=QUANTITIES),
        always=("spec", "status"),
    ),
    skeleton={"spec": {}, "status": {}},
    subresources=frozenset({"status"}),
    short_names=("quota",),
)
_LIMIT = struct(
    "LimitRangeItem",
    type=STRING,
    max=QUANTITIES,
    min=QUANTITIES,
    default=QUANTITIES,
    defaultRequest=QUANTITIES,
    maxLimitRequestRatio=QUANTITIES,
)
LIMIT_RANGE = Resource(
    "",
    "v1",
    "limitranges",
    "LimitRange",
    kind_schema("LimitRange", spec=struct("LimitRangeSpec", limits=ListOf(_LIMIT)), always=("spec",)),
    skeleton={"spec": {"limits": None}},
    short_names=("limits",),
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

BUILT_IN = (
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    JOB,
    CRON_JOB,
    POD,
    NODE,
    NAMESPACE,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    EVENT,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    AUTOSCALER,
    AUTOSCALER_V1,
    DISRUPTION_BUDGET,
    LEASE,
    ROLE,
    CLUSTER_ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE_BINDING,
    DEFINITION,
)
