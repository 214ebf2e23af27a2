"""Manifests of a cost recommendation beside the patch of its workload: an HPA's minimum, a schedule."""

import shlex
from typing import Any

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.apply.manifest import to_yaml
from perfopt_api.apply.target import PatchTarget


def cost_artifacts(
    recommendation: OptimizationRecommendation, target: PatchTarget
) -> tuple[dict[str, Any], ...]:
    """Returns a patch of the HPA's minimum and the schedule, where they change; none for other types."""
    if recommendation.optimization_type is not OptimizationType.COST_OPTIMIZATION:
        return ()
    before, after, artifacts = recommendation.current_state, recommendation.recommended_state, []
    if after.get("hpa") and after["hpa"] != before.get("hpa"):
        artifacts.append(_minimum(target, after["hpa"].get("min_replicas", 1)))
    if after.get("schedule") and after["schedule"] != before.get("schedule"):
        artifacts.append(_schedule(target, after["schedule"]))
    return tuple(artifacts)


def _where(target: PatchTarget) -> str:
    return f" --namespace {shlex.quote(target.namespace)}" if target.namespace else ""


def _minimum(target: PatchTarget, least: int) -> dict[str, Any]:
    filename = f"{target.name}-hpa.patch.yaml"
    return {
        "kind": "hpa_patch",
        "filename": filename,
        "content": to_yaml({"spec": {"minReplicas": least}}),
        "command": f"kubectl patch hpa {shlex.quote(target.name)}{_where(target)} --type merge"
        f" --patch-file {shlex.quote(filename)}",
        "note": " ".join((*target.notes, "An HPA of another name: put its own.")),
    }


def _schedule(target: PatchTarget, spans: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "replica_schedule",
        "filename": f"{target.name}-schedule.yaml",
        "content": to_yaml({"schedule": spans}),
        "command": f"kubectl scale {target.kind.lower()} {shlex.quote(target.name)}{_where(target)}"
        f" --replicas {spans[0]['min_replicas']}",
        "note": "Run the command with min_replicas at each start, or make each span a cron trigger of KEDA.",
    }
