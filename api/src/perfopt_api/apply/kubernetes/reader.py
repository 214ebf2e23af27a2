"""Reads a workload and everything beside it, past any cache."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from perfopt_api.apply.cluster import (
    JobRun,
    WorkloadTarget,
    WorkloadView,
)
from perfopt_api.apply.kubernetes import access
from perfopt_api.apply.kubernetes.access import WorkloadKind
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.kubernetes.kinds import find_kind
from perfopt_api.apply.kubernetes.objects import Json, dig, template_path
from perfopt_api.apply.kubernetes.refusals import refusals
from perfopt_api.apply.kubernetes.runs import JOB_NAME, MAX_RUNS, runs_of
from perfopt_api.apply.kubernetes.selectors import print_selector, selects
from perfopt_api.apply.kubernetes.views import Surroundings, view_of

_KEPT = 256  # workloads of which the last reading is kept


def utc_now() -> datetime:
    """Returns the present instant, UTC."""
    return datetime.now(UTC)


class KubernetesReader:
    """Reads workloads, their pods and what owns them.

    Args:
        requests: reach the API.
        clock: tells the time.
    """

    def __init__(self, requests: KubernetesRequests, clock: Callable[[], datetime] = utc_now) -> None:
        self.requests = requests
        self.clock = clock
        self._last: OrderedDict[str, Surroundings] = OrderedDict()
        self._kinds = {(kind.api_version, kind.kind): kind for kind in access.KINDS}

    def is_built_in(self, target: WorkloadTarget) -> bool:
        """Whether a kind is one of Kubernetes' own, as far as is known without asking."""
        known = self._kinds.get((target.api_version, target.kind))
        return known is not None and known.built_in

    async def kind(self, target: WorkloadTarget) -> WorkloadKind:
        """How a kind is reached; a custom one is looked up in the API's discovery.

        Raises:
            WorkloadGoneError: the server has no such kind, or it has no scale subresource.
            ChangeRefusedError: two groups have a kind of that name.
        """
        known = self._kinds.get((target.api_version, target.kind))
        if known is None:
            known = await find_kind(self.requests, target.api_version, target.kind)
            self._kinds[target.api_version, target.kind] = known
        return known

    async def surroundings(self, target: WorkloadTarget) -> Surroundings:
        """Reads a workload and everything beside it."""
        kind, space = await self.kind(target), target.namespace
        obj = await self.requests.get(kind.call("get"), space, target.name)
        labels = await self.selector(kind, obj)
        revisions = access.LIST_REPLICA_SETS if target.kind == "Deployment" else access.LIST_REVISIONS
        pods, revision_objects, hpas, keda, vertical, budgets = await asyncio.gather(
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
        owned = [each for each in revision_objects if _owned(each, uid)]
        runs = await self._runs(space, uid) if target.runs else ()
        found = Surroundings(obj, pods, hpas, keda, vertical, selected, owned, runs)
        self._last[target.key] = found
        while len(self._last) > _KEPT:
            self._last.popitem(last=False)
        return found

    def last_read(self, target: WorkloadTarget) -> Surroundings | None:
        """Returns what the last reading of a workload gave; None where there is none, or many came since."""
        return self._last.get(target.key)

    async def _runs(self, namespace: str, uid: str) -> tuple[JobRun, ...]:
        """Reads the newest Jobs of a CronJob, and their pods."""
        jobs = [job for job in await self.requests.items(access.LIST_JOBS, namespace) if _owned(job, uid)]
        jobs = sorted(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))[-MAX_RUNS:]
        names = ",".join(job["metadata"]["name"] for job in jobs)
        pods = await self._pods(namespace, f"{JOB_NAME} in ({names})" if jobs else "")
        return runs_of(jobs, pods)

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
            return view_of(target, await self.surroundings(target), self.clock())

    async def resizes_pods(self) -> bool:
        """Returns whether the server has the subresource `pods/resize`, by its discovery."""
        resources = await self.requests.send("GET", "/api/v1")
        return any(each["name"] == "pods/resize" for each in resources.get("resources", ()))


def _labels(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _template_labels(obj: Json) -> dict[str, str]:
    """The labels that a workload's pods will have."""
    path = template_path(obj["kind"])[:-1]
    return dig(obj, (*path, "metadata", "labels")) or {}


def _owned(obj: Json, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences", ()))
