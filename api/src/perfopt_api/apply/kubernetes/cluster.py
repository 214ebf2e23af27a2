"""The port to a cluster on a Kubernetes API."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

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
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.kubernetes.objects import head
from perfopt_api.apply.kubernetes.preflight import Preflight
from perfopt_api.apply.kubernetes.reader import KubernetesReader, utc_now
from perfopt_api.apply.kubernetes.refusals import refusals, refused, resize_refused
from perfopt_api.apply.kubernetes.restore import Restore, replace_broken
from perfopt_api.apply.kubernetes.views import Surroundings, view_of
from perfopt_api.apply.kubernetes.watch import changed
from perfopt_api.apply.kubernetes.writer import KubernetesWriter
from perfopt_api.apply.refusals import ResizeRefusedError, WorkloadGoneError

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class KubernetesCluster:
    """Reads and changes workloads. Writes are made as field manager `perfopt`.

    Args:
        config: how the API is reached.
        clock: tells the time.
        service_namespace: of the service itself, where the ConfigMap that freezes is looked for; None is that
            of the pod's service account, else `perfopt`.
    """

    def __init__(
        self,
        config: KubernetesConfig,
        *,
        clock: Callable[[], datetime] = utc_now,
        service_namespace: str | None = None,
    ) -> None:
        self.requests = KubernetesRequests(config)
        self._own_namespace = service_namespace or own_namespace()
        self._reader = KubernetesReader(self.requests, clock)
        self._writer = KubernetesWriter(self.requests)

    def close(self) -> None:
        """Gives the connections back."""
        self.requests.close()

    async def read(self, target: WorkloadTarget) -> WorkloadView:
        """Reads the workload, what owns it, and its pods, past any cache."""
        return await self._reader.read(target)

    async def frozen(self, namespace: str) -> str | None:
        """Returns why a namespace is frozen; None where it is not."""
        with refusals():
            space = await self.requests.get(access.GET_NAMESPACE, "", namespace)
            reason = space["metadata"].get("annotations", {}).get(FREEZE_ANNOTATION)
            if reason is not None:
                return str(reason) or "frozen"
            try:
                config_map = await self.requests.get(
                    access.GET_FREEZE, self._own_namespace, FREEZE_CONFIG_MAP
                )
            except WorkloadGoneError:
                return None
            data = config_map.get("data", {})
            held = data.get(namespace, data.get("_all"))
            return None if held is None else str(held) or "frozen"

    def watch(self, target: WorkloadTarget) -> AsyncIterator[WorkloadView]:
        """Gives the workload now and after each change of it or its pods, until the caller stops."""
        return changed(self._reader, target)

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

    async def preflight(self, change: WorkloadChange, *, force: bool = False) -> Sequence[Finding]:
        """Looks for what stands against a change, with a server-side dry run; changes nothing."""
        with refusals():
            kind = await self._reader.kind(change.target)
            surroundings = await self._reader.surroundings(change.target)
            return await Preflight(
                self._reader, self._writer, kind, surroundings, change, force=force
            ).findings()

    async def snapshot(self, change: WorkloadChange) -> Snapshot:
        """Records what the change would overwrite."""
        with refusals():
            surroundings = await self._reader.surroundings(change.target)
        view = view_of(change.target, surroundings, self._reader.clock())
        paths = list(change.fields())
        names = {"hpa": surroundings.autoscaler, "keda": surroundings.scaled_object}
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
            pod_object = await self.requests.get(access.GET_POD, target.namespace, pod)
        body = changes.resize_body(pod_object["spec"], containers)
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
            kind = await self._reader.kind(change.target)
            surroundings = await self._reader.surroundings(change.target)
            for dry_run in (True, False):  # all of it is known to be acceptable before any of it is done
                await self._writer.write(kind, surroundings, change, force=force, dry_run=dry_run)

    async def restore(self, snapshot: Snapshot, *, only: Collection[str] | None = None) -> None:
        """Sets the fields of a snapshot to what they were, and gives up ownership.

        Raises:
            ChangeRefusedError: the server refuses it.
        """
        with refusals():
            kind = await self._reader.kind(snapshot.target)
            surroundings = await self._reader.surroundings(snapshot.target)
            await Restore(self.requests, kind, surroundings, snapshot, only).run()

    async def replace_broken(self, target: WorkloadTarget) -> None:
        """Deletes one pod of a StatefulSet that is not ready and of an older template."""
        if target.kind == "StatefulSet":
            with refusals():
                surroundings = await self._reader.surroundings(target)
                await replace_broken(self.requests, surroundings)

    def commands(self, change: WorkloadChange, pod: str | None = None) -> Sequence[str]:
        """Returns the kubectl commands that do the same by hand, of the workload as it was last read."""
        target = change.target
        found = self._reader.last_read(target) or Surroundings(head(target))
        if pod is not None:
            return [changes.resize_command(change, found.obj, pod)]
        scalers = (found.autoscaler, found.scaled_object)
        autoscaler, scaled_object = ("" if one is None else str(one["metadata"]["name"]) for one in scalers)
        return changes.change_commands(
            change,
            found.obj,
            custom=not self._reader.is_built_in(target),
            autoscaler=autoscaler,
            scaled_object=scaled_object,
        )


def own_namespace(file: Path = _OWN_NAMESPACE) -> str:
    """The namespace that the service runs in; `perfopt` outside of a cluster."""
    try:
        return file.read_text(encoding="utf-8").strip() or "perfopt"
    except OSError:
        return "perfopt"
