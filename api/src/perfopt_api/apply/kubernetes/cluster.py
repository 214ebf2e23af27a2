"""The port to a cluster on a Kubernetes API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.cluster import (
    FREEZE_ANNOTATION,
    FREEZE_CONFIG_MAP,
    ContainerSize,
    Finding,
    Snapshot,
    WorkloadChange,
    WorkloadTarget,
    WorkloadView,
)
from perfopt_api.apply.kubernetes import access, changes
from perfopt_api.apply.kubernetes.access import WorkloadKind
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.kubernetes.objects import HPA_FIELDS, Json, dig, fields_of, template_path
from perfopt_api.apply.kubernetes.preflight import Preflight
from perfopt_api.apply.kubernetes.refusals import refusals, refuse_foreign, refused, resize_refused
from perfopt_api.apply.kubernetes.restore import Restore
from perfopt_api.apply.kubernetes.selectors import print_selector, selects
from perfopt_api.apply.kubernetes.views import Surroundings, view_of
from perfopt_api.apply.kubernetes.watch import changed
from perfopt_api.apply.refusals import ChangeRefusedError, ResizeRefusedError, WorkloadGoneError

_ATTEMPTS = 3
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class KubernetesCluster:
    """Reads and changes workloads. Writes are made as field manager `perfopt`.

    Args:
        config: how the API is reached.
        service_namespace: of the service itself, where the ConfigMap that freezes is looked for; None is that
            of the pod's service account, else `perfopt`.
    """

    def __init__(self, config: KubernetesConfig, *, service_namespace: str | None = None) -> None:
        self.requests = KubernetesRequests(config)
        self._own_namespace = service_namespace or own_namespace()
        self._kinds = {(kind.api_version, kind.kind): kind for kind in access.KINDS}

    def close(self) -> None:
        """Gives the connections back."""
        self.requests.close()

    # -- reading --------------------------------------------------------------------------------------------

    async def kind(self, target: WorkloadTarget) -> WorkloadKind:
        """How a kind is reached; a custom one is looked up in the API's discovery.

        Raises:
            WorkloadGoneError: the server has no such kind, or it has no scale subresource.
        """
        known = self._kinds.get((target.api_version, target.kind))
        if known is not None:
            return known
        group, _, version = target.api_version.rpartition("/")
        found = await self.requests.send("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        names = {each["name"]: each for each in found.get("resources", ())}
        plural = next((n for n, each in names.items() if each["kind"] == target.kind and "/" not in n), None)
        if plural is None or f"{plural}/scale" not in names:
            raise WorkloadGoneError(
                f"{target.api_version} has no workload {target.kind} with a scale subresource.",
                remedy="Name a workload that can be scaled.",
            )
        kind = WorkloadKind(group, version, plural, target.kind, built_in=False)
        self._kinds[target.api_version, target.kind] = kind
        return kind

    async def surroundings(self, target: WorkloadTarget) -> Surroundings:
        """Reads a workload and everything beside it."""
        kind, space = await self.kind(target), target.namespace
        obj = await self.requests.get(kind.call("get"), space, target.name)
        labels = await self.selector(kind, obj)
        revisions = access.LIST_REPLICA_SETS if target.kind == "Deployment" else access.LIST_REVISIONS
        pods, made, hpas, keda, vertical, budgets = await asyncio.gather(
            self._pods(space, labels),
            self._revisions(revisions, target, labels),
            self.requests.items(access.LIST_AUTOSCALERS, space),
            self._optional(self.requests.items(access.LIST_SCALED_OBJECTS, space, optional=True)),
            self._optional(self.requests.items(access.LIST_VERTICAL, space, optional=True)),
            self.requests.items(access.LIST_BUDGETS, space),
        )
        uid = obj["metadata"]["uid"]
        labelled = [_labels(pod) for pod in pods] or [_template_labels(obj)]
        selected = [
            each for each in budgets if any(selects(dig(each, ("spec", "selector")), pod) for pod in labelled)
        ]
        owned = [each for each in made if _owned(each, uid)]
        return Surroundings(obj, pods, hpas, keda, vertical, selected, owned)

    async def selector(self, kind: WorkloadKind, obj: Json) -> str:
        """Returns the label selector of a workload's pods as a query; empty where it has none."""
        if kind.kind == "CronJob":
            return ""
        selector = dig(obj, ("spec", "selector"))
        if selector is None and not kind.built_in:
            metadata = obj["metadata"]
            scale = await self.requests.get(
                kind.call("get", "scale"), metadata["namespace"], metadata["name"]
            )
            return str(dig(scale, ("status", "selector")) or "")
        return print_selector(selector or {})

    async def _pods(self, namespace: str, labels: str) -> list[Json]:
        return await self.requests.items(access.LIST_PODS, namespace, labels=labels) if labels else []

    async def _revisions(self, call: access.Call, target: WorkloadTarget, labels: str) -> list[Json]:
        if target.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
            return []
        return await self.requests.items(call, target.namespace, labels=labels)

    async def _optional(self, listing: Awaitable[list[Json]]) -> list[Json]:
        """What the service account may not read, or the cluster does not have, is none."""
        try:
            return await listing
        except ApiError as error:
            if error.code == 403:
                return []
            raise

    async def read(self, target: WorkloadTarget) -> WorkloadView:
        """Reads the workload, what owns it, and its pods, past any cache."""
        with refusals():
            return view_of(target, await self.surroundings(target), datetime.now(UTC))

    async def frozen(self, namespace: str) -> str | None:
        """Returns why a namespace is frozen; None where it is not."""
        with refusals():
            space = await self.requests.get(access.GET_NAMESPACE, "", namespace)
            reason = space["metadata"].get("annotations", {}).get(FREEZE_ANNOTATION)
            if reason is not None:
                return str(reason) or "frozen"
            try:
                found = await self.requests.get(access.GET_FREEZE, self._own_namespace, FREEZE_CONFIG_MAP)
            except WorkloadGoneError:
                return None
            data = found.get("data", {})
            held = data.get(namespace, data.get("_all"))
            return None if held is None else str(held) or "frozen"

    def watch(self, target: WorkloadTarget) -> AsyncIterator[WorkloadView]:
        """Gives the workload now and after each change of it or its pods, until the caller stops."""
        return changed(self, target)

    async def evict_dry_run(self, target: WorkloadTarget, pod: str) -> bool:
        """Returns whether an eviction of the pod would be allowed now, by every budget."""
        metadata = {"name": pod, "namespace": target.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        try:
            await self.requests.create(access.EVICT_POD.path(target.namespace, pod), body, dry_run=True)
        except ApiError as error:
            if error.code == 429 or "more than one PodDisruptionBudget" in error.message:
                return False
            raise refused(error) from error
        return True

    async def resizes_pods(self) -> bool:
        """Returns whether the server has the subresource `pods/resize`, by its discovery."""
        found = await self.requests.send("GET", "/api/v1")
        return any(each["name"] == "pods/resize" for each in found.get("resources", ()))

    # -- writing --------------------------------------------------------------------------------------------

    async def preflight(self, change: WorkloadChange, *, force: bool = False) -> Sequence[Finding]:
        """Looks for what stands against a change, with a server-side dry run; changes nothing."""
        with refusals():
            kind = await self.kind(change.target)
            found = await self.surroundings(change.target)
            return await Preflight(self, kind, found, change, force=force).findings()

    async def snapshot(self, change: WorkloadChange) -> Snapshot:
        """Records what the change would overwrite."""
        with refusals():
            found = await self.surroundings(change.target)
        view = view_of(change.target, found, datetime.now(UTC))
        paths = list(change.fields())
        names = {"hpa": found.autoscaler, "keda": found.scaled_object}
        return Snapshot(
            target=change.target,
            uid=view.uid,
            taken_at=view.read_at,
            fields={path: view.fields.get(path) for path in paths},
            field_managers={p: view.field_managers[p] for p in paths if p in view.field_managers},
            pods={pod.name: pod.actuated for pod in view.pods if pod.actuated},
            extra={key: obj["metadata"]["name"] for key, obj in names.items() if obj is not None},
        )

    async def resize(self, target: WorkloadTarget, pod: str, containers: Mapping[str, ContainerSize]) -> None:
        """Asks for new sizes of a running pod by `pods/resize`.

        Raises:
            ResizeRefusedError: the pod cannot get that size in place.
        """
        with refusals():
            found = await self.requests.get(access.GET_POD, target.namespace, pod)
        body = changes.resize_body(found["spec"], containers)
        try:
            await self.requests.patch(access.RESIZE_POD, target.namespace, pod, "strategic", body)
        except ApiError as error:
            raise resize_refused(error, pod) from error
        except WorkloadGoneError as error:
            await self.requests.get(access.GET_POD, target.namespace, pod)  # the pod itself may be gone
            raise ResizeRefusedError(
                "This Kubernetes has no pods/resize subresource (it needs 1.33).",
                rollout=True,
                remedy="Change the template.",
            ) from error

    async def apply(self, change: WorkloadChange, *, force: bool = False) -> None:
        """Sets every field of a change by server-side apply, autoscaler and KEDA included.

        Raises:
            FieldConflictError: another manager owns a field, and `force` is not set.
            ChangeRefusedError: the server refuses it.
        """
        with refusals():
            kind = await self.kind(change.target)
            found = await self.surroundings(change.target)
            for dry_run in (True, False):  # all of it is known to be acceptable before any of it is done
                await self.write(kind, found, change, force=force, dry_run=dry_run)

    async def write(
        self, kind: WorkloadKind, found: Surroundings, change: WorkloadChange, *, force: bool, dry_run: bool
    ) -> None:
        """Sends every part of a change."""
        fields = changes.workload_fields(change)
        if fields:
            write = self._apply_built_in if kind.built_in else self._patch_custom
            await write(kind, found.obj, change.target, fields, force=force, dry_run=dry_run)
        await self._write_autoscaler(found, change, force=force, dry_run=dry_run)
        if change.keda is not None:
            await self._write_scaled_object(found, change, force=force, dry_run=dry_run)

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
            await self.requests.patch(call, space, name, "apply", body, dry_run=dry_run, force=force)
        if removed:
            patch = changes.merge_body(obj, removed)
            await self.requests.patch(call, space, name, "strategic", patch, dry_run=dry_run)

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
                await self.requests.patch(
                    call, target.namespace, target.name, "json", operations, dry_run=dry_run
                )
                break
            except ApiError as error:
                if error.code != 422 or error.causes or attempt == _ATTEMPTS - 1:
                    raise
                obj = await self.requests.get(kind.call("get"), target.namespace, target.name)
        if "replicas" in fields:
            body = {"spec": {"replicas": fields["replicas"]}}
            call = kind.call("patch", "scale")
            await self.requests.patch(call, target.namespace, target.name, "merge", body, dry_run=dry_run)

    async def _write_autoscaler(
        self, found: Surroundings, change: WorkloadChange, *, force: bool, dry_run: bool
    ) -> None:
        fields = {path: value for path, value in change.fields().items() if path in HPA_FIELDS}
        if not fields or change.autoscaler is None:
            return
        space, name = change.target.namespace, change.autoscaler.name
        named = [each for each in found.autoscalers if each["metadata"]["name"] == name]
        hpa = named[0] if named else found.autoscaler
        if hpa is None:
            raise ChangeRefusedError(
                f"No HorizontalPodAutoscaler targets {change.target.kind} {change.target.name}.",
                remedy="Create one, or change the replicas of the workload.",
            )
        body = changes.autoscaler_body(hpa, fields)
        where = (access.PATCH_AUTOSCALER, space, hpa["metadata"]["name"])
        await self.requests.patch(*where, "apply", body, dry_run=dry_run, force=force)

    async def _write_scaled_object(
        self, found: Surroundings, change: WorkloadChange, *, force: bool, dry_run: bool
    ) -> None:
        keda = found.scaled_object
        if keda is None:
            raise ChangeRefusedError(
                f"No ScaledObject targets {change.target.kind} {change.target.name}.",
                remedy="Create one, or change the replicas of the workload.",
            )
        metadata = {"name": keda["metadata"]["name"], "namespace": change.target.namespace}
        identity = {"apiVersion": keda.get("apiVersion", "keda.sh/v1alpha1"), "kind": "ScaledObject"}
        body = identity | {"metadata": metadata, "spec": change.keda}
        where = (access.PATCH_SCALED_OBJECT, change.target.namespace, metadata["name"])
        await self.requests.patch(*where, "apply", body, dry_run=dry_run, force=force)

    async def restore(self, snapshot: Snapshot, *, only: Collection[str] | None = None) -> None:
        """Sets the fields of a snapshot to what they were, and gives up ownership.

        Raises:
            ChangeRefusedError: the server refuses it.
        """
        with refusals():
            kind = await self.kind(snapshot.target)
            found = await self.surroundings(snapshot.target)
            await Restore(self, kind, found, snapshot, only).run()

    def commands(self, change: WorkloadChange, pod: str | None = None) -> Sequence[str]:
        """Returns the kubectl commands that do the same by hand."""
        if pod is not None:
            return [changes.resize_command(change, pod)]
        known = self._kinds.get((change.target.api_version, change.target.kind))
        return changes.change_commands(change, custom=known is None or not known.built_in)


def value_of(obj: Json, path: str) -> Any:
    """The value of a flat path of a workload."""
    return fields_of(obj).get(path)


def own_namespace(file: Path = _OWN_NAMESPACE) -> str:
    """The namespace that the service runs in; `perfopt` outside of a cluster."""
    try:
        return file.read_text(encoding="utf-8").strip() or "perfopt"
    except OSError:
        return "perfopt"


def _labels(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _template_labels(obj: Json) -> dict[str, str]:
    """The labels that a workload's pods will have."""
    path = template_path(obj["kind"])[:-1]
    return dig(obj, (*path, "metadata", "labels")) or {}


def _owned(obj: Json, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences", ()))
