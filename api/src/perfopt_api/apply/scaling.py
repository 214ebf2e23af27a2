"""Manifests of a scaling recommendation: an HPA, a KEDA ScaledObject, and the schedule of the minimum."""

import shlex
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.apply.manifest import to_yaml
from perfopt_api.apply.target import PatchTarget

_EITHER = "Apply the HorizontalPodAutoscaler or the ScaledObject, never both: KEDA makes an HPA of its own."
_METRICS = {"cpu": "target_cpu_utilization_percent", "memory": "target_memory_utilization_percent"}


def scaling_artifacts(
    recommendation: OptimizationRecommendation, target: PatchTarget, base_url: str | None
) -> tuple[dict[str, Any], ...]:
    """Returns the artifacts of a scaling recommendation; none for other types.

    Args:
        recommendation: the recommendation.
        target: the workload as Kubernetes addresses it.
        base_url: public address of the API, which the ScaledObject asks; None leaves the strategy's.
    """
    state = recommendation.recommended_state
    if recommendation.optimization_type is not OptimizationType.SCALING_OPTIMIZATION or not state.get("hpa"):
        return ()
    artifacts = [_hpa(target, state["hpa"])]
    if state.get("keda_scaled_object"):
        artifacts.append(_scaled_object(target, state["keda_scaled_object"], base_url))
    if state.get("schedule"):
        artifacts.append(_schedule(target, state["schedule"]))
    return tuple(artifacts)


def _hpa(target: PatchTarget, settings: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name},
        "minReplicas": settings.get("min_replicas", 1),
        "maxReplicas": settings["max_replicas"],
    }
    notes = [*target.notes, _EITHER, f"An HPA of another name than {target.name} must be renamed or removed."]
    if settings.get("other_metrics"):
        names = ", ".join(settings["other_metrics"])
        notes.append(f"Its other metrics ({names}) are not in the file: add them before applying.")
    spec["metrics"] = [
        {"type": "Resource", "resource": {"name": resource, "target": _utilization(settings[field])}}
        for resource, field in _METRICS.items()
        if settings.get(field) is not None
    ]
    if settings.get("behavior"):
        spec["behavior"] = settings["behavior"]
    manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(target.name, target),
        "spec": spec,
    }
    return _file("hpa", f"{target.name}-hpa.yaml", to_yaml(manifest), " ".join(notes))


def _utilization(percent: int) -> dict[str, Any]:
    return {"type": "Utilization", "averageUtilization": percent}


def _metadata(name: str, target: PatchTarget) -> dict[str, Any]:
    return {"name": name} | ({"namespace": target.namespace} if target.namespace else {})


def _scaled_object(target: PatchTarget, given: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    spec = dict(given["spec"])
    spec["scaleTargetRef"] = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}
    spec["triggers"] = [_at(trigger, base_url) for trigger in spec["triggers"]]
    manifest = {**given, "metadata": _metadata(f"{target.name}-perfopt", target), "spec": spec}
    notes = [*target.notes, _EITHER]
    if base_url is None:
        notes.append("Put the address of perfopt's API into the url: the setting base_url is not set.")
    notes.append("Where the API wants tokens, add authMode bearer and a TriggerAuthentication.")
    return _file("keda_scaled_object", f"{target.name}-scaledobject.yaml", to_yaml(manifest), " ".join(notes))


def _at(trigger: dict[str, Any], base_url: str | None) -> dict[str, Any]:
    """Puts the API's own address before the path of a trigger that asks it."""
    url = trigger.get("metadata", {}).get("url")
    if base_url is None or url is None:
        return trigger
    address, base = urlsplit(url), urlsplit(base_url)
    moved = urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + address.path, address.query, ""))
    return {**trigger, "metadata": {**trigger["metadata"], "url": moved}}


def _schedule(target: PatchTarget, spans: list[dict[str, Any]]) -> dict[str, Any]:
    note = (
        "Set spec.minReplicas of the HPA to min_replicas at each start; the ScaledObject does so by itself,"
        " through the API."
    )
    where = f" --namespace {shlex.quote(target.namespace)}" if target.namespace else ""
    first = spans[0]["min_replicas"]
    command = (
        f"kubectl patch hpa {shlex.quote(target.name)}{where} --type merge"
        f""" --patch '{{"spec": {{"minReplicas": {first}}}}}'"""
    )
    filename = f"{target.name}-schedule.yaml"
    return {
        "kind": "replica_schedule",
        "filename": filename,
        "content": to_yaml({"schedule": spans}),
        "command": command,
        "note": note,
    }


def _file(kind: str, filename: str, content: str, note: str) -> dict[str, Any]:
    command = f"kubectl apply --filename {shlex.quote(filename)}"
    return {"kind": kind, "filename": filename, "content": content, "command": command, "note": note}
