"""A HorizontalPodAutoscaler in autoscaling/v1: what that has no fields for stands in annotations."""

import json
from typing import Any

from perfopt_api.simulated.kubernetes.status import Json

_PREFIX = "autoscaling.alpha.kubernetes.io/"


def first_version(hpa: Json) -> Json:
    """The object as autoscaling/v1 shows it."""
    spec, status = hpa["spec"], hpa.get("status", {})
    metadata = dict(hpa["metadata"])
    carried: Json = {}
    if "behavior" in spec:
        carried[f"{_PREFIX}behavior"] = _text(_behavior(spec["behavior"]))
    if status.get("conditions"):
        carried[f"{_PREFIX}conditions"] = _text(status["conditions"])
    others = [metric for metric in spec.get("metrics", ()) if _cpu(metric) is None]
    if others:
        carried[f"{_PREFIX}metrics"] = _text(others)
    if carried:
        metadata["annotations"] = metadata.get("annotations", {}) | carried
    targets = [value for metric in spec.get("metrics", ()) if (value := _cpu(metric)) is not None]
    shown: Json = {
        name: spec[name] for name in ("scaleTargetRef", "minReplicas", "maxReplicas") if name in spec
    }
    if targets:
        shown["targetCPUUtilizationPercentage"] = targets[0]
    fields = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
    reported = {"currentReplicas": 0} | {name: status[name] for name in fields if name in status}
    head = {"kind": hpa["kind"], "apiVersion": "autoscaling/v1", "metadata": metadata}
    return head | {"spec": shown, "status": reported}


def _cpu(metric: Json) -> int | None:
    resource = metric.get("resource", {})
    if metric["type"] != "Resource" or resource.get("name") != "cpu":
        return None
    target: int | None = resource["target"].get("averageUtilization")
    return target


def _behavior(value: Any) -> Any:
    """Field names as Go has them, in which the annotation is written."""
    if isinstance(value, list):
        return [_behavior(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {name[:1].upper() + name[1:]: _behavior(part) for name, part in value.items()}
    if "Policies" not in named:
        return named
    ordered = ("StabilizationWindowSeconds", "SelectPolicy", "Policies")
    return {name: named.get(name) for name in ordered} | {"Tolerance": None}


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
