"""Writes every part of a change, as field manager `perfopt`."""

from datetime import UTC, datetime
from typing import Any

from perfopt_api.apply.cluster import (
    WorkloadChange,
    WorkloadTarget,
)
from perfopt_api.apply.kubernetes import access, changes
from perfopt_api.apply.kubernetes.access import WorkloadKind
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.kubernetes.objects import HPA_FIELDS, Json, fields_of
from perfopt_api.apply.kubernetes.refusals import refuse_foreign
from perfopt_api.apply.kubernetes.views import Surroundings, view_of
from perfopt_api.apply.refusals import ChangeRefusedError

_ATTEMPTS = 3


class KubernetesWriter:
    """Writes workloads, their autoscalers and KEDA's objects.

    Args:
        requests: reach the API.
    """

    def __init__(self, requests: KubernetesRequests) -> None:
        self._requests = requests

    async def write(
        self,
        kind: WorkloadKind,
        surroundings: Surroundings,
        change: WorkloadChange,
        *,
        force: bool,
        dry_run: bool,
    ) -> None:
        """Sends every part of a change."""
        fields = changes.workload_fields(change)
        if fields:
            write = self._apply_built_in if kind.built_in else self._patch_custom
            await write(kind, surroundings.obj, change.target, fields, force=force, dry_run=dry_run)
        await self._write_autoscaler(surroundings, change, force=force, dry_run=dry_run)
        if change.keda is not None:
            await self._write_scaled_object(surroundings, change, force=force, dry_run=dry_run)

    async def _apply_built_in(
        self,
        kind: WorkloadKind,
        obj: Json,
        target: WorkloadTarget,
        fields: Json,
        *,
        force: bool,
        dry_run: bool,
    ) -> None:
        call, space, name = kind.call("patch"), target.namespace, target.name
        removed = {path: None for path, value in fields.items() if value is None}
        if removed and not force:
            refuse_foreign(view_of(target, Surroundings(obj), datetime.now(UTC)).field_managers, removed)
        body = changes.apply_body(target, obj, fields)
        body = changes.without(obj, body, removed) if removed else body
        if "spec" in body:
            await self._requests.patch(call, space, name, "apply", body, dry_run=dry_run, force=force)
        if removed:
            patch = changes.merge_body(obj, removed)
            await self._requests.patch(call, space, name, "strategic", patch, dry_run=dry_run)

    async def _patch_custom(
        self,
        kind: WorkloadKind,
        obj: Json,
        target: WorkloadTarget,
        fields: Json,
        *,
        force: bool,
        dry_run: bool,
    ) -> None:
        """A kind whose lists are owned whole: a guarded JSON patch, and its scale subresource."""
        if not force:
            owners = view_of(target, Surroundings(obj), datetime.now(UTC)).field_managers
            refuse_foreign(owners, {p: v for p, v in fields.items() if value_of(obj, p) != v})
        for attempt in range(_ATTEMPTS):
            operations = changes.json_patch(obj, fields)
            if not operations:
                break
            try:
                call = kind.call("patch")
                await self._requests.patch(
                    call, target.namespace, target.name, "json", operations, dry_run=dry_run
                )
                break
            except ApiError as error:
                if error.code != 422 or error.causes or attempt == _ATTEMPTS - 1:
                    raise
                obj = await self._requests.get(kind.call("get"), target.namespace, target.name)
        if "replicas" in fields:
            body = {"spec": {"replicas": fields["replicas"]}}
            call = kind.call("patch", "scale")
            await self._requests.patch(call, target.namespace, target.name, "merge", body, dry_run=dry_run)

    async def _write_autoscaler(
        self, surroundings: Surroundings, change: WorkloadChange, *, force: bool, dry_run: bool
    ) -> None:
        fields = {path: value for path, value in change.fields().items() if path in HPA_FIELDS}
        if not fields or change.autoscaler is None:
            return
        space, name = change.target.namespace, change.autoscaler.name
        named = [each for each in surroundings.autoscalers if each["metadata"]["name"] == name]
        hpa = named[0] if named else surroundings.autoscaler
        if hpa is None:
            raise ChangeRefusedError(
                f"No HorizontalPodAutoscaler targets {change.target.kind} {change.target.name}.",
                remedy="Create one, or change the replicas of the workload.",
            )
        body = changes.autoscaler_body(hpa, fields)
        where = (access.PATCH_AUTOSCALER, space, hpa["metadata"]["name"])
        await self._requests.patch(*where, "apply", body, dry_run=dry_run, force=force)

    async def _write_scaled_object(
        self, surroundings: Surroundings, change: WorkloadChange, *, force: bool, dry_run: bool
    ) -> None:
        keda = surroundings.scaled_object
        if keda is None:
            raise ChangeRefusedError(
                f"No ScaledObject targets {change.target.kind} {change.target.name}.",
                remedy="Create one, or change the replicas of the workload.",
            )
        metadata = {"name": keda["metadata"]["name"], "namespace": change.target.namespace}
        identity = {"apiVersion": keda.get("apiVersion", "keda.sh/v1alpha1"), "kind": "ScaledObject"}
        body = identity | {"metadata": metadata, "spec": change.keda}
        where = (access.PATCH_SCALED_OBJECT, change.target.namespace, metadata["name"])
        await self._requests.patch(*where, "apply", body, dry_run=dry_run, force=force)


def value_of(obj: Json, path: str) -> Any:
    """The value of a flat path of a workload."""
    return fields_of(obj).get(path)
