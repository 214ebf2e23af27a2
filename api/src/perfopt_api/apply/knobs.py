"""Manifests of runtime knobs: environment and arguments as a patch, and what has to be done by hand."""

from typing import Any

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.apply.patch import patch_artifact, workload_patch
from perfopt_api.apply.target import PatchTarget

_REFERENCES = (
    "A variable that takes its value from a secret or a config map now must be changed there instead:"
    " Kubernetes allows one of the two."
)


def knob_artifacts(
    recommendation: OptimizationRecommendation, target: PatchTarget
) -> tuple[dict[str, Any], ...]:
    """Returns the artifacts of the knobs that a recommendation sets; none where it sets none.

    Args:
        recommendation: the recommendation; `knob_settings` of its state says how each container is set.
        target: the workload as Kubernetes addresses it.
    """
    settings = recommendation.recommended_state.get("knob_settings")
    if not settings or settings == recommendation.current_state.get("knob_settings"):
        return ()
    by_hand = [sentence for how in settings.values() for sentence in how.get("by_hand", ())]
    if target.custom:  # no patch of theirs merges lists by name
        by_hand += (_sentence(name, how) for name, how in settings.items() if len(_container(name, how)) > 1)
        return (_instructions(target, by_hand),) if by_hand else ()
    containers = [patched for name, how in settings.items() if len(patched := _container(name, how)) > 1]
    artifacts = []
    if containers:
        artifacts.append(_patch(target, containers))
    if by_hand:
        artifacts.append(_instructions(target, by_hand))
    return tuple(artifacts)


def _container(name: str, how: dict[str, Any]) -> dict[str, Any]:
    """Returns a container of the patch: variables merge by name, a list of arguments is replaced whole."""
    patched: dict[str, Any] = {"name": name}
    for part in ("command", "args"):
        if how.get(part):
            patched[part] = how[part]
    if how.get("env"):
        patched["env"] = [{"name": variable, "value": value} for variable, value in how["env"].items()]
    return patched


def _sentence(name: str, how: dict[str, Any]) -> str:
    """Says what is set in a container, for whoever does it by hand."""
    parts = [f"{part} {' '.join(how[part])}" for part in ("command", "args") if how.get(part)]
    parts += (f"{variable}={value} in its environment" for variable, value in (how.get("env") or {}).items())
    return f"Set in container {name}: {', '.join(parts)}."


def _patch(target: PatchTarget, containers: list[dict[str, Any]]) -> dict[str, Any]:
    patch = workload_patch(target, target.wrap({"containers": containers}))
    notes = ("Its pods restart.", _REFERENCES)
    return patch_artifact(target, patch, kind="knobs_patch", what="knobs", notes=notes)


def _instructions(target: PatchTarget, by_hand: list[str]) -> dict[str, Any]:
    return {
        "kind": "knobs_by_hand",
        "filename": f"{target.name}-knobs.txt",
        "content": "".join(f"- {sentence}\n" for sentence in by_hand),
        "command": "",
        "note": "No manifest can set these.",
    }
