"""The way back: the values of a snapshot, written so that their owners get them back."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from perfopt_api.apply.cluster import FIELD_MANAGER, Snapshot
from perfopt_api.apply.kubernetes import access, changes
from perfopt_api.apply.kubernetes.access import WorkloadKind
from perfopt_api.apply.kubernetes.client import KubernetesRequests
from perfopt_api.apply.kubernetes.objects import HPA_FIELDS, Json
from perfopt_api.apply.kubernetes.views import Surroundings, condition, revision_of


class Restore:
    """One way back.

    Each field is written under the name of the manager that owned it before, so that manager's next apply
    finds its own value. What was unset is removed. Last, `perfopt` applies without these fields.
    """

    def __init__(
        self,
        requests: KubernetesRequests,
        kind: WorkloadKind,
        surroundings: Surroundings,
        snapshot: Snapshot,
        only: Collection[str] | None,
    ) -> None:
        self._requests, self._kind, self._found, self._snapshot = requests, kind, surroundings, snapshot
        self._fields = {p: v for p, v in snapshot.fields.items() if only is None or p in only}

    async def run(self) -> None:
        """Restores every part."""
        own = {p: v for p, v in self._fields.items() if not p.startswith(("hpa.", "keda"))}
        if own and self._kind.built_in:
            await self._built_in(own)
        elif own:
            await self._custom(own)
        await self._autoscaler()
        await self._scaled_object()
        if self._kind.kind == "StatefulSet" and own:
            target = self._snapshot.target
            obj = await self._requests.get(self._kind.call("get"), target.namespace, target.name)
            await replace_broken(self._requests, replace(self._found, obj=obj))

    async def _built_in(self, fields: dict[str, Any]) -> None:
        target, requests = self._snapshot.target, self._requests
        where = (self._kind.call("patch"), target.namespace, target.name)
        for manager, owned in self._by_manager(fields).items():
            body = changes.merge_body(self._found.obj, owned)
            await requests.patch(*where, "strategic", body, manager=manager)
        obj = await requests.get(self._kind.call("get"), target.namespace, target.name)
        body = changes.apply_body(target, obj, {})
        if "spec" in body or _applied(obj):
            await requests.patch(*where, "apply", changes.without(obj, body, fields))

    def _by_manager(self, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
        values: dict[str, dict[str, Any]] = {}
        for path, value in fields.items():
            before = [m for m in self._snapshot.field_managers.get(path, ()) if m != FIELD_MANAGER]
            values.setdefault(before[0] if before else FIELD_MANAGER, {})[path] = value
        return values

    async def _custom(self, fields: dict[str, Any]) -> None:
        target = self._snapshot.target
        where = (self._kind.call("patch"), target.namespace, target.name)
        operations = changes.json_patch(self._found.obj, fields)
        if operations:
            await self._requests.patch(*where, "json", operations)
        if fields.get("replicas") is not None:
            body = {"spec": {"replicas": fields["replicas"]}}
            call = self._kind.call("patch", "scale")
            await self._requests.patch(call, target.namespace, target.name, "merge", body)

    async def _autoscaler(self) -> None:
        fields = {path: value for path, value in self._fields.items() if path in HPA_FIELDS}
        name = self._snapshot.extra.get("hpa")
        if fields and name is not None:
            owners = [
                m for p in fields for m in self._snapshot.field_managers.get(p, ()) if m != FIELD_MANAGER
            ]
            where = (access.PATCH_AUTOSCALER, self._snapshot.target.namespace, name)
            body = {"spec": changes.autoscaler_spec(fields)}
            manager = owners[0] if owners else FIELD_MANAGER
            await self._requests.patch(*where, "merge", body, manager=manager)

    async def _scaled_object(self) -> None:
        spec, name = self._fields.get("keda"), self._snapshot.extra.get("keda")
        if spec is not None and name is not None:
            where = (access.PATCH_SCALED_OBJECT, self._snapshot.target.namespace, name)
            operations = [{"op": "replace", "path": "/spec", "value": spec}]
            await self._requests.patch(*where, "json", operations)


async def replace_broken(requests: KubernetesRequests, found: Surroundings) -> None:
    """Deletes the last pod of a StatefulSet that is not ready and not of the newest revision.

    Such a pod stays whatever the template becomes.
    """
    obj, status = found.obj, found.obj.get("status", {})
    settled = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    old = [
        pod["metadata"]
        for pod in found.pods
        if _broken(pod) and not (settled and revision_of(pod["metadata"]) == status.get("updateRevision"))
    ]
    if old:
        last = max(old, key=lambda metadata: int(metadata["name"].rpartition("-")[2]))
        await requests.delete(access.DELETE_POD, last["namespace"], last["name"], last["uid"])


def _broken(pod: Json) -> bool:
    ready = condition(pod.get("status", {}), "Ready").get("status") == "True"
    return not ready and "deletionTimestamp" not in pod["metadata"]


def _applied(obj: Json) -> bool:
    return any(
        (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply")
        for entry in obj["metadata"].get("managedFields", ())
    )
