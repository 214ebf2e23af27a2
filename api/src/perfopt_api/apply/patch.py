"""Patches of a workload, and how to apply one."""

import shlex
from typing import Any

from perfopt_api.apply.manifest import to_yaml
from perfopt_api.apply.target import PatchTarget


def workload_patch(target: PatchTarget, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a patch of the object that a workload is.

    Args:
        target: the object.
        spec: what of its spec changes.
    """
    metadata = {"name": target.name} | ({"namespace": target.namespace} if target.namespace else {})
    return {"apiVersion": target.api_version, "kind": target.kind, "metadata": metadata, "spec": spec}


def patch_artifact(
    target: PatchTarget, patch: dict[str, Any], *, kind: str, what: str, notes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns a strategic merge patch as a file, and the command that applies it.

    Args:
        target: the object.
        patch: of `workload_patch`.
        kind: of the artifact.
        what: the patch is of, for the file's name.
        notes: beside those on the target.
    """
    return file_patch(target, patch, kind=kind, type_="strategic", what=what, notes=notes)


def file_patch(
    target: PatchTarget, patch: Any, *, kind: str, type_: str, what: str, notes: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns a patch of any type of kubectl as a file; see `patch_artifact`."""
    filename = f"{target.name}-{what}.patch.yaml"
    where = f" --namespace {shlex.quote(target.namespace)}" if target.namespace else ""
    return {
        "kind": kind,
        "filename": filename,
        "content": to_yaml(patch),
        "command": f"kubectl patch {target.kind.lower()} {shlex.quote(target.name)}{where}"
        f" --type {type_} --patch-file {shlex.quote(filename)}",
        "note": " ".join((*target.notes, *notes)),
    }
