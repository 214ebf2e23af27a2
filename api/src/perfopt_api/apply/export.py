"""Manifests that bring a recommendation about: a patch, a Kustomize and a Helm snippet."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt_api.apply.cost import cost_artifacts
from perfopt_api.apply.injected import injected, injected_note
from perfopt_api.apply.json_patch import json_patch, json_patch_artifact
from perfopt_api.apply.knobs import knob_artifacts
from perfopt_api.apply.manifest import LiteralBlock, to_yaml
from perfopt_api.apply.patch import patch_artifact, workload_patch
from perfopt_api.apply.placement import placement_of
from perfopt_api.apply.preview import replicas_change
from perfopt_api.apply.scaling import scaling_artifacts
from perfopt_api.apply.target import PatchTarget, target_of

_GROUPS = {"cpu_request": ("requests", "cpu"), "memory_request": ("requests", "memory")} | {
    "cpu_limit": ("limits", "cpu"),
    "memory_limit": ("limits", "memory"),
}


def export(
    recommendation: OptimizationRecommendation, base_url: str | None = None
) -> tuple[dict[str, Any], ...]:
    """Returns the artifacts of an export, each {kind, filename, content, command, note}.

    A scaling recommendation is an HPA, a ScaledObject and a schedule first, a cost recommendation the HPA's
    minimum and a schedule, knobs are a patch of their own; resources and placement follow where they change.

    Args:
        recommendation: the recommendation.
        base_url: public address of the API, for what asks it.

    Raises:
        UnsupportedKindError: the kind of workload cannot be patched, or is not known.
        ConflictError: the state names no container.
    """
    target = target_of(recommendation)
    first = (
        *scaling_artifacts(recommendation, target, base_url),
        *cost_artifacts(recommendation, target),
        *knob_artifacts(recommendation, target),
    )
    placement, notes = placement_of(recommendation, target)
    target = replace(target, notes=(*target.notes, *notes))
    if (
        first
        and not placement
        and recommendation.current_state.get("containers")
        == recommendation.recommended_state.get("containers")
    ):
        return first
    resources = resources_of(recommendation)
    added = [name for name in injected(resources) if resources.pop(name)]
    if added:
        target = replace(target, notes=(*target.notes, injected_note(added)))
    if not resources:
        raise ConflictError(
            f"{recommendation.recommendation_id} changes no resource of any container.",
            remedy="See the recommended_state for what it does change.",
        )
    replicas = replicas_change(recommendation) if target.scalable else None
    patch: Any
    if target.custom:
        patch = json_patch(recommendation, resources, replicas, placement)
        artifact = json_patch_artifact(target, patch, placement)
    else:
        sidecars = recommendation.current_state.get("sidecars", ())
        patch = patch_of(target, resources, replicas, sidecars, placement)
        artifact = patch_artifact(target, patch, kind="strategic_merge_patch", what="resources")
    return (
        *first,
        artifact,
        _kustomize(target, patch),
        _helm_values(target, resources, replicas),
    )


def resources_of(recommendation: OptimizationRecommendation) -> dict[str, dict[str, Any]]:
    """Returns `resources` by container, complete as recommended.

    A quantity that is set now and is no longer recommended is null, which removes it; what was never
    known is left out, which leaves it alone.
    """
    old = recommendation.current_state.get("containers", {})
    new = recommendation.recommended_state.get("containers", {})
    resources: dict[str, dict[str, Any]] = {}
    for name, quantities in new.items():
        groups: dict[str, Any] = {}
        for quantity, (group, resource) in _GROUPS.items():
            if quantity in quantities or quantity in old.get(name, {}):
                groups.setdefault(group, {})[resource] = quantities.get(quantity)
        if groups:
            resources[name] = groups
    return resources


def patch_of(
    target: PatchTarget,
    resources: dict[str, dict[str, Any]],
    replicas: int | None,
    sidecars: Collection[str] = (),
    placement: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Returns the strategic-merge patch: containers merge by name, so that all else stays as it is.

    Args:
        target: the object to patch.
        resources: by container.
        replicas: to set; None leaves them alone.
        sidecars: names of the native sidecars, which stand under initContainers.
        placement: further fields of the pod's spec.
    """
    pod_spec: dict[str, Any] = dict(placement)
    for name, groups in resources.items():
        field = "initContainers" if name in sidecars else "containers"
        pod_spec.setdefault(field, []).append({"name": name, "resources": groups})
    spec = target.wrap(pod_spec)
    if replicas is not None:
        spec = {"replicas": replicas, **spec}
    return workload_patch(target, spec)


def _kustomize(target: PatchTarget, patch: Any) -> dict[str, Any]:
    selector = {"kind": target.kind, "name": target.name}
    if target.namespace:
        selector["namespace"] = target.namespace
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "patches": [{"target": selector, "patch": LiteralBlock(to_yaml(patch))}],
    }
    return {
        "kind": "kustomize",
        "filename": "kustomization.yaml",
        "content": to_yaml(kustomization),
        "command": "kubectl apply --kustomize .",
        "note": " ".join((*target.notes, "Add the patch to the kustomization that lists the workload.")),
    }


def _helm_values(
    target: PatchTarget, resources: dict[str, dict[str, Any]], replicas: int | None
) -> dict[str, Any]:
    only = next(iter(resources.values())) if len(resources) == 1 else None
    values: dict[str, Any] = {} if replicas is None else {"replicaCount": replicas}
    if only is not None:
        values["resources"] = only
    else:
        values |= {name: {"resources": groups} for name, groups in resources.items()}
    filename = f"{target.name}-values.yaml"
    where = f" --namespace {shlex.quote(target.namespace)}" if target.namespace else ""
    return {
        "kind": "helm_values",
        "filename": filename,
        "content": to_yaml(values),
        "command": f"helm upgrade {shlex.quote(target.name)} CHART{where} --reuse-values"
        f" --values {shlex.quote(filename)}",
        "note": "The keys are those that `helm create` lays out: adapt them, and put the chart for CHART.",
    }
