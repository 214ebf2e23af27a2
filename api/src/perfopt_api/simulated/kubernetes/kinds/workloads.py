"""The groups apps and batch: what runs pods."""

from typing import Any

from perfopt_api.simulated.kubernetes import defaults
from perfopt_api.simulated.kubernetes.kinds.resource import Resource
from perfopt_api.simulated.kubernetes.schema import (
    ATOMIC_LIST,
    BOOL,
    FREE,
    INT,
    INT_OR_STRING,
    LONG,
    SELECTOR,
    STRING,
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
