"""Manifests that bring a recommendation about: a strategic-merge patch, a Kustomize and a Helm snippet."""

import shlex
from typing import Any

import yaml

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt_api.apply.preview import replicas_change
from perfopt_api.apply.target import Target, target_of

_GROUPS = {"cpu_request": ("requests", "cpu"), "memory_request": ("requests", "memory")} | {
    "cpu_limit": ("limits", "cpu"),
    "memory_limit": ("limits", "memory"),
}

_SIDECAR_NOTE = "A native sidecar stands under initContainers: move its entry there."


def export(made: OptimizationRecommendation) -> tuple[dict[str, Any], ...]:
    """Returns the artifacts of an export, each {kind, filename, content, command, note}.

    Raises:
        ConflictError: the kind of workload cannot be patched, or the state names no container.
    """
    target = target_of(made)
    resources = resources_of(made)
    if not resources:
        raise ConflictError(
            f"{made.recommendation_id} changes no resource of any container.",
            remedy="See the recommended_state for what it does change.",
        )
    replicas = replicas_change(made) if target.scalable else None
    return (
        _strategic_merge_patch(target, resources, replicas),
        _kustomize(target, resources, replicas),
        _helm_values(target, resources, replicas),
    )


def resources_of(made: OptimizationRecommendation) -> dict[str, dict[str, Any]]:
    """Returns `resources` by container, complete as recommended.

    A quantity that is set now and is no longer recommended is null, which removes it; what was never
    known is left out, which leaves it alone.
    """
    old = made.current_state.get("containers", {})
    new = made.recommended_state.get("containers", {})
    resources: dict[str, dict[str, Any]] = {}
    for name, quantities in new.items():
        groups: dict[str, Any] = {}
        for quantity, (group, resource) in _GROUPS.items():
            if quantity in quantities or quantity in old.get(name, {}):
                groups.setdefault(group, {})[resource] = quantities.get(quantity)
        if groups:
            resources[name] = groups
    return resources


def patch_of(target: Target, resources: dict[str, dict[str, Any]], replicas: int | None) -> dict[str, Any]:
    """Returns the strategic-merge patch: containers merge by name, so that all else stays as it is."""
    metadata = {"name": target.name} | ({"namespace": target.namespace} if target.namespace else {})
    containers = [{"name": name, "resources": groups} for name, groups in resources.items()]
    spec = target.wrap({"containers": containers})
    if replicas is not None:
        spec = {"replicas": replicas, **spec}
    return {"apiVersion": target.api_version, "kind": target.kind, "metadata": metadata, "spec": spec}


def _strategic_merge_patch(
    target: Target, resources: dict[str, dict[str, Any]], replicas: int | None
) -> dict[str, Any]:
    filename = f"{target.name}-resources.patch.yaml"
    where = f" --namespace {shlex.quote(target.namespace)}" if target.namespace else ""
    return {
        "kind": "strategic_merge_patch",
        "filename": filename,
        "content": _yaml(patch_of(target, resources, replicas)),
        "command": f"kubectl patch {target.kind.lower()} {shlex.quote(target.name)}{where}"
        f" --type strategic --patch-file {shlex.quote(filename)}",
        "note": " ".join((*target.notes, _SIDECAR_NOTE)),
    }


def _kustomize(target: Target, resources: dict[str, dict[str, Any]], replicas: int | None) -> dict[str, Any]:
    selector = {"kind": target.kind, "name": target.name}
    if target.namespace:
        selector["namespace"] = target.namespace
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "patches": [{"target": selector, "patch": _Block(_yaml(patch_of(target, resources, replicas)))}],
    }
    return {
        "kind": "kustomize",
        "filename": "kustomization.yaml",
        "content": _yaml(kustomization),
        "command": "kubectl apply --kustomize .",
        "note": " ".join((*target.notes, "Add the patch to the kustomization that lists the workload.")),
    }


def _helm_values(
    target: Target, resources: dict[str, dict[str, Any]], replicas: int | None
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
        "content": _yaml(values),
        "command": f"helm upgrade {shlex.quote(target.name)} CHART{where} --reuse-values"
        f" --values {shlex.quote(filename)}",
        "note": "The keys are those that `helm create` lays out: adapt them, and put the chart for CHART.",
    }


class _Block(str):
    """Text that YAML prints as a literal block."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Prints literal blocks and no aliases, which nobody wants to read in a manifest."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _represent_block(dumper: yaml.SafeDumper, text: _Block) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(_Block, _represent_block)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
