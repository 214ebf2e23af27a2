"""HorizontalPodAutoscalers: bounds always, targets where there is a metrics API."""

import math
from collections.abc import Callable, Iterable

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key, condition, is_ready
from perfopt_api.simulated.kubernetes.custom import get_path
from perfopt_api.simulated.kubernetes.kinds import AUTOSCALER, POD, Resource
from perfopt_api.simulated.kubernetes.managed import Writer
from perfopt_api.simulated.kubernetes.selectors import matches
from perfopt_api.simulated.kubernetes.status import Json, qualified
from perfopt_api.simulated.kubernetes.storage import Change
from perfopt_api.simulated.kubernetes.subresources import copy_path, scale_path

_TOLERANCE = 0.1
_NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get {0} utilization: unable to get metrics "
    "for resource {0}: unable to fetch metrics from resource metrics API: the server could not find the "
    "requested resource (get pods.metrics.k8s.io)"
)

Usage = Callable[[Json], float | None]  # of a pod: CPU cores, or None where there is no metrics API


class AutoscalerController:
    """Looks at one HorizontalPodAutoscaler every `sync_seconds`.

    Attributes:
        usage: CPU use of a pod in cores; None is a cluster without a metrics API.
    """

    def __init__(self, hub: Hub, *, sync_seconds: float = 15.0, usage: Usage | None = None) -> None:
        self._hub = hub
        self._every = sync_seconds
        self.usage = usage
        self._next: dict[Key, float] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        """New autoscalers; after that they are looked at by the clock."""
        return [change.name] if change.kind == AUTOSCALER.key and change.before is None else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One look; the first comes one interval after the autoscaler."""
        hpa = self._hub.store.get(AUTOSCALER.key, namespace, name)
        if hpa is None:
            self._next.pop((namespace, name), None)
            return None
        due = self._next.setdefault((namespace, name), self._hub.now + self._every)
        if self._hub.now + 1e-6 < due:
            return due - self._hub.now
        self._next[namespace, name] = self._hub.now + self._every
        self._look(hpa)
        return self._every

    def _look(self, hpa: Json) -> None:
        reference, namespace = hpa["spec"]["scaleTargetRef"], hpa["metadata"]["namespace"]
        resource = self._hub.api.of_kind(reference.get("apiVersion", ""), reference["kind"])
        target = self._hub.store.get(resource.key, namespace, reference["name"]) if resource else None
        if resource is None or target is None:
            self._missing(hpa, reference, resource)
            return
        path = scale_path(resource)
        current = get_path(target, path) or 0
        if current == 0:
            text = "scaling is disabled since the replica count of the target is zero"
            self._report(hpa, 0, 0, [self._condition(hpa, "ScalingActive", "False", "ScalingDisabled", text)])
            return
        desired, active = self._desired(hpa, target, current)
        if desired == current:
            text = "the HPA controller was able to get the target's current scale"
            able = self._condition(hpa, "AbleToScale", "True", "SucceededGetScale", text)
            self._report(hpa, current, desired, [able, *active], failing=self.usage is None)
            return
        self._rescale(hpa, resource, target, desired)
        text = f"the HPA controller was able to update the target scale to {desired}"
        able = self._condition(hpa, "AbleToScale", "True", "SucceededRescale", text)
        known = condition(hpa, "ScalingActive")
        conditions = active if self.usage is not None else ([known] if known else [])
        self._report(hpa, current, desired, [able, *conditions], scaled=True)

    def _desired(self, hpa: Json, target: Json, current: int) -> tuple[int, list[Json]]:
        spec = hpa["spec"]
        low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
        if not low <= current <= high:
            return min(max(current, low), high), []
        metric = next((m["resource"] for m in spec["metrics"] if m["type"] == "Resource"), None)
        if metric is None or self.usage is None:
            name = metric["name"] if metric else "cpu"
            text = _NO_METRICS.format(name)
            return current, [self._condition(hpa, "ScalingActive", "False", "FailedGetResourceMetric", text)]
        ratio = self._ratio(target, metric)
        text = "the HPA was able to successfully calculate a replica count from {} resource utilization"
        text = text.format(metric["name"])
        active = [self._condition(hpa, "ScalingActive", "True", "ValidMetricFound", text)]
        if ratio is None or abs(ratio - 1) <= _TOLERANCE:
            return current, active
        return min(max(math.ceil(ratio * current), low), high), active

    def _ratio(self, target: Json, metric: Json) -> float | None:
        """Use over what is aimed at, mean of the pods that are ready."""
        goal = metric["target"].get("averageUtilization")
        if self.usage is None or goal is None or metric["name"] != "cpu":
            return None
        namespace, selector = target["metadata"]["namespace"], target["spec"].get("selector")
        used = requested = 0.0
        for pod in self._hub.store.all(POD.key, namespace):
            if not matches(selector, pod["metadata"].get("labels", {})) or not is_ready(pod):
                continue
            used += self.usage(pod) or 0.0
            requested += sum(
                float(parse_quantity(c.get("resources", {}).get("requests", {}).get("cpu", "0")))
                for c in pod["spec"]["containers"]
            )
        return used / requested * 100 / goal if requested else None

    def _rescale(self, hpa: Json, resource: Resource, target: Json, desired: int) -> None:
        new = copy_path(target, scale_path(resource), desired)
        writer = Writer("kube-controller-manager", "Update", resource.api_version, "scale")
        self._hub.api.writes.update(resource, target, new, writer)

    def _missing(self, hpa: Json, reference: Json, resource: Resource | None) -> None:
        plural = resource.plural if resource else f"{reference['kind'].lower()}s"
        group = reference.get("apiVersion", "").rpartition("/")[0]
        text = (
            "the HPA controller was unable to get the target's current scale: "
            f'{qualified(plural, group)} "{reference["name"]}" not found'
        )
        failed = self._condition(hpa, "AbleToScale", "False", "FailedGetScale", text)
        status = hpa.get("status", {}) | {"conditions": [failed]}
        self._hub.status(AUTOSCALER, hpa, status)

    def _report(
        self,
        hpa: Json,
        current: int,
        desired: int,
        conditions: list[Json],
        *,
        scaled: bool = False,
        failing: bool = False,
    ) -> None:
        status: Json = {
            "lastScaleTime": self._hub.stamp() if scaled else hpa.get("status", {}).get("lastScaleTime"),
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": [{"type": ""}] if failing else None,
            "conditions": conditions,
        }
        self._hub.status(
            AUTOSCALER, hpa, {k: v for k, v in status.items() if v is not None or k == "currentMetrics"}
        )

    def _condition(self, hpa: Json, kind: str, status: str, reason: str, message: str) -> Json:
        known = condition(hpa, kind)
        same = known is not None and known["status"] == status
        turned = known["lastTransitionTime"] if known is not None and same else self._hub.stamp()
        times = {"lastTransitionTime": turned}
        return {"type": kind, "status": status, **times, "reason": reason, "message": message}
