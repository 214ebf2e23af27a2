"""What the server fills in where a request leaves fields out."""

from decimal import ROUND_CEILING, Decimal
from typing import Any

from perfopt.domain.quantity import canonical_quantity, parse_quantity
from perfopt_api.simulated.kubernetes.status import Json

_MILLI = Decimal("0.001")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_SCALE_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
_SCALE_UP = [{"type": "Pods", "value": 4, "periodSeconds": 15}, *_SCALE_DOWN]


def pod_spec(spec: Json) -> None:
    """Defaults of a pod's spec, in a template or a pod."""
    for name in ("containers", "initContainers"):
        for container in spec.get(name, ()):
            _container(container)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


def _container(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = container.get("image", "")
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            container[probe] = _PROBE | container[probe]
    for quantities in container.get("resources", {}).values():
        if isinstance(quantities, dict):
            quantities.update({name: _whole_milli(text) for name, text in quantities.items()})


def _whole_milli(text: str) -> str:
    value = parse_quantity(text)
    rounded = value.quantize(_MILLI, rounding=ROUND_CEILING)
    return text if rounded == value else canonical_quantity(f"{int(rounded * 1000)}m")


def pod(obj: Json) -> None:
    """Defaults of a pod, its requests from its limits among them."""
    spec = obj["spec"]
    pod_spec(spec)
    for name in ("containers", "initContainers"):
        for container in spec.get(name, ()):
            requests_from_limits(container)
    spec.setdefault("enableServiceLinks", True)


def admitted_pod(obj: Json) -> None:
    """What admission writes into a new pod; it belongs to no field manager."""
    spec = obj["spec"]
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("tolerations", [_toleration("not-ready"), _toleration("unreachable")])


def requests_from_limits(container: Json) -> None:
    """A limit without a request is the request too."""
    resources = container.setdefault("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    filled = {name: text for name, text in limits.items() if name not in requests}
    if filled:
        resources["requests"] = requests | filled


def _toleration(name: str) -> Json:
    return {
        "key": f"node.kubernetes.io/{name}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }


def deployment(obj: Json) -> None:
    """Defaults of a Deployment."""
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    _template(spec)
    strategy = spec.setdefault("strategy", {})
    _rolling(strategy, {"maxUnavailable": "25%", "maxSurge": "25%"})
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def replica_set(obj: Json) -> None:
    """Defaults of a ReplicaSet."""
    obj["spec"].setdefault("replicas", 1)
    _template(obj["spec"])


def stateful_set(obj: Json) -> None:
    """Defaults of a StatefulSet."""
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    _template(spec)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    _rolling(spec.setdefault("updateStrategy", {}), {"partition": 0})
    spec.setdefault("revisionHistoryLimit", 10)
    policy = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    spec.setdefault("persistentVolumeClaimRetentionPolicy", policy)


def daemon_set(obj: Json) -> None:
    """Defaults of a DaemonSet."""
    spec = obj["spec"]
    _template(spec)
    _rolling(spec.setdefault("updateStrategy", {}), {"maxUnavailable": 1, "maxSurge": 0})
    spec.setdefault("revisionHistoryLimit", 10)


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {"metadata": {}, "spec": {}})
    pod_spec(template.setdefault("spec", {}))


def _rolling(strategy: Json, values: Json) -> None:
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy["rollingUpdate"] = values | strategy.get("rollingUpdate", {})


def job_spec(spec: Json) -> None:
    """Defaults of a Job's spec, its own or a CronJob's."""
    _template(spec)


def job(obj: Json) -> None:
    """Defaults of a Job."""
    spec = obj["spec"]
    job_spec(spec)
    filled: dict[str, Any] = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "manualSelector": False,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    for name, value in filled.items():
        spec.setdefault(name, value)
    labels = spec["template"].get("metadata", {}).get("labels")
    if labels:
        obj["metadata"].setdefault("labels", dict(labels))


def generated_job(obj: Json) -> None:
    """The labels and the selector that a new Job gets from its uid; they belong to no field manager."""
    uid, spec = obj["metadata"]["uid"], obj["spec"]
    own = {"controller-uid": uid, "job-name": obj["metadata"]["name"]}
    labels = own | {f"batch.kubernetes.io/{name}": value for name, value in own.items()}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = template.get("labels", {}) | labels
    obj["metadata"]["labels"] = obj["metadata"].get("labels", {}) | labels
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def cron_job(obj: Json) -> None:
    """Defaults of a CronJob."""
    spec = obj["spec"]
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    template = spec.setdefault("jobTemplate", {"metadata": {}, "spec": {}})
    job_spec(template.setdefault("spec", {}))


def autoscaler(obj: Json) -> None:
    """Defaults of a HorizontalPodAutoscaler."""
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    target = {"type": "Utilization", "averageUtilization": 80}
    spec.setdefault("metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
    if "behavior" in spec:
        up, down = spec["behavior"].get("scaleUp", {}), spec["behavior"].get("scaleDown", {})
        spec["behavior"] = {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": _SCALE_UP} | up,
            "scaleDown": {"selectPolicy": "Max", "policies": _SCALE_DOWN} | down,
        }


def definition(obj: Json) -> None:
    """Defaults of a CustomResourceDefinition."""
    names = obj["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    obj["spec"].setdefault("conversion", {"strategy": "None"})
