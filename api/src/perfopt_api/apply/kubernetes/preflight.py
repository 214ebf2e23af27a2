"""What stands against a change, found without changing anything."""

from collections.abc import Iterator, Sequence
from typing import Any

from perfopt_api.apply.cluster import SINGLE_REPLICA, Finding, WorkloadChange
from perfopt_api.apply.kubernetes import access, capacity, changes
from perfopt_api.apply.kubernetes.access import Call, WorkloadKind
from perfopt_api.apply.kubernetes.client import ApiError
from perfopt_api.apply.kubernetes.objects import HPA_FIELDS, Json, dig, pod_spec
from perfopt_api.apply.kubernetes.reader import KubernetesReader
from perfopt_api.apply.kubernetes.refusals import refused, resize_refused
from perfopt_api.apply.kubernetes.views import Surroundings, owners_of
from perfopt_api.apply.kubernetes.writer import KubernetesWriter
from perfopt_api.apply.refusals import (
    ChangeRefusedError,
    FieldConflictError,
    ResizeRefusedError,
    WorkloadGoneError,
)

_OUT = (
    "Export the change and commit it there, or make it `transient`: pods are resized, and the template is "
    "left alone."
)
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Preflight:
    """One look before one change."""

    def __init__(
        self,
        reader: KubernetesReader,
        writer: KubernetesWriter,
        kind: WorkloadKind,
        surroundings: Surroundings,
        change: WorkloadChange,
        *,
        force: bool = False,
    ) -> None:
        self._force = force
        self._reader, self._writer, self._kind = reader, writer, kind
        self._found, self._change = surroundings, change
        self._transient = change.durability == "transient"

    async def findings(self) -> Sequence[Finding]:
        """Everything that was found; blocking first."""
        findings = [*self._owners(), *await self._permissions(), *await self._capacity()]
        findings += [*self._budgets(), *self._restart(), *await self._resizing()]
        unfit = ("permission_missing", "resize_missing")
        if not any(each.blocking and each.code in unfit for each in findings):
            findings += await self._dry_run()
        return sorted(findings, key=lambda each: not each.blocking)

    # -- who else changes it --------------------------------------------------------------------------------

    def _owners(self) -> Iterator[Finding]:
        owners = owners_of(self._found)
        fields = changes.workload_fields(self._change)
        for code, owner, what in (
            ("argo_cd_owned", owners.argo_cd, "Argo CD application"),
            ("flux_owned", owners.flux, "Flux"),
        ):
            if owner is None:
                continue
            text = f"{what} {owner} keeps this workload as its repository says"
            blocks = bool(fields) and not self._force
            yield Finding(
                code=code,
                message=f"{text} and would undo a direct change." if fields else f"{text}.",
                blocking=blocks,
                remedy=_OUT if blocks else None,
            )
        yield from self._scalers(owners.hpa, owners.keda)
        if owners.vpa and owners.vpa_mode not in ("Off", "Initial") and self._change.containers:
            yield Finding(
                code="vpa_owned",
                message=f"VerticalPodAutoscaler {owners.vpa} sets the sizes (mode {owners.vpa_mode}).",
                remedy="Set its updateMode to Off, or leave the sizes to it.",
            )

    def _scalers(self, hpa: str | None, keda: str | None) -> Iterator[Finding]:
        change = self._change
        if change.replicas is not None and (hpa or keda):
            owner = f"ScaledObject {keda}" if keda else f"HorizontalPodAutoscaler {hpa}"
            yield Finding(
                code="autoscaler_owned",
                message=f"{owner} sets the replicas and would scale back.",
                remedy="Change its minimum, maximum or target.",
            )
        if change.autoscaler is not None and keda:
            yield Finding(
                code="keda_owned",
                message=f"ScaledObject {keda} writes the HorizontalPodAutoscaler and would undo the change.",
                remedy="Change the ScaledObject.",
            )

    # -- permissions ----------------------------------------------------------------------------------------

    async def _permissions(self) -> list[Finding]:
        missing = []
        for call, name in self._writes():
            if not await self._may(call, name):
                resource = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
                missing.append(
                    Finding(
                        code="permission_missing",
                        message=f"The service account may not {call.verb} {resource} in "
                        f"{self._change.target.namespace}.",
                        remedy=f"Grant the role that `{self._role()}` prints.",
                    )
                )
        return missing

    def _role(self) -> str:
        known = self._kind.kind in {kind.kind for kind in access.KINDS}
        return "perfopt rbac" if known else f"perfopt rbac --kind {self._kind.plural}.{self._kind.group}"

    def _writes(self) -> Iterator[tuple[Call, str]]:
        change = self._change
        fields = changes.workload_fields(change)
        if fields and (self._kind.built_in or fields.keys() - {"replicas"}):
            yield self._kind.call("patch"), change.target.name
        if "replicas" in fields and not self._kind.built_in:
            yield self._kind.call("patch", "scale"), change.target.name
        if self._transient and change.containers:
            yield access.RESIZE_POD, ""
        if any(path in HPA_FIELDS for path in change.fields()):
            yield access.PATCH_AUTOSCALER, ""
        if change.keda is not None:
            yield access.PATCH_SCALED_OBJECT, ""

    async def _may(self, call: Call, name: str) -> bool:
        attributes = {
            "namespace": self._change.target.namespace,
            "verb": call.verb,
            "group": call.group,
            "resource": call.resource,
            **({"subresource": call.subresource} if call.subresource else {}),
            **({"name": name} if name else {}),
        }
        head = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        body = head | {"spec": {"resourceAttributes": attributes}}
        answer = await self._reader.requests.create(_REVIEW, body)
        return bool(answer["status"]["allowed"])

    # -- room -----------------------------------------------------------------------------------------------

    async def _capacity(self) -> list[Finding]:
        change, obj = self._change, self._found.obj
        if not change.containers and not change.removed:
            return []
        before, after = pod_spec(obj), capacity.changed_spec(obj, change)
        requests, space = self._reader.requests, change.target.namespace
        nodes = await self._nodes()
        quotas = await requests.items(access.LIST_QUOTAS, space)
        ranges = await requests.items(access.LIST_LIMITS, space)
        pods: list[Json] = list(self._found.pods)
        replicas = max(len(pods), int(obj["spec"].get("replicas", 1) or 1))
        return [
            *capacity.node_findings(before, after, nodes, pods, in_place=self._transient),
            *capacity.quota_findings(before, after, quotas, replicas),
            *capacity.limit_findings(after, ranges),
            *capacity.class_findings(before, after, in_place=self._transient),
        ]

    async def _nodes(self) -> list[Json] | None:
        try:
            return await self._reader.requests.items(access.LIST_NODES)
        except ApiError:
            return None

    def _budgets(self) -> Iterator[Finding]:
        restarts = self._transient and self._restarts()
        for budget in self._found.budgets:
            allowed = budget.get("status", {}).get("disruptionsAllowed", 0)
            if allowed < 1:
                yield Finding(
                    code="disruption_budget",
                    message=f"PodDisruptionBudget {budget['metadata']['name']} allows no disruption now.",
                    blocking=restarts,
                    remedy="Wait until more pods are ready: this resize restarts containers."
                    if restarts
                    else None,
                )

    def _restart(self) -> Iterator[Finding]:
        """A restart of the only pod: whether its successor is ready before it ends."""
        change, spec = self._change, self._found.obj.get("spec", {})
        if not change.target.scalable or spec.get("replicas", 1) != 1:
            return
        deployment = change.target.kind == "Deployment"
        if self._transient:
            interrupts = bool(change.containers) and self._restarts()
        else:
            renewed = bool(change.containers or change.env or change.removed)
            interrupts = renewed and not (deployment and _surges(spec))
        if interrupts:
            yield Finding(
                code=SINGLE_REPLICA,
                message="The only pod ends before another is ready: requests fail meanwhile.",
                blocking=False,
                remedy="Set the strategy RollingUpdate with maxSurge 1 and maxUnavailable 0, and apply it"
                " with durability template."
                if deployment
                else "Scale to two replicas, or choose a quiet time.",
            )

    def _restarts(self) -> bool:
        return any(
            policy.get("restartPolicy") == "RestartContainer"
            for container in pod_spec(self._found.obj).get("containers", ())
            for policy in container.get("resizePolicy", ())
        )

    async def _resizing(self) -> list[Finding]:
        if not self._change.containers or await self._reader.resizes_pods():
            return []
        return [
            Finding(
                code="resize_missing",
                message="This Kubernetes has no pods/resize subresource (it needs 1.33): there is no canary "
                "in place, and only new pods get the size.",
                blocking=self._transient,
                remedy="Change the template." if self._transient else None,
            )
        ]

    # -- the server's dry run ------------------------------------------------------------------------------

    async def _dry_run(self) -> list[Finding]:
        findings = []
        try:
            await self._writer.write(self._kind, self._found, self._change, force=self._force, dry_run=True)
        except (ApiError, FieldConflictError, ChangeRefusedError) as error:
            findings.append(_refusal(refused(error) if isinstance(error, ApiError) else error))
        if self._transient and self._change.containers:
            findings += await self._dry_run_resize()
        return findings

    async def _dry_run_resize(self) -> list[Finding]:
        """The server's answer for the first pod that is still there."""
        space = self._change.target.namespace
        for pod in self._found.pods:
            name = pod["metadata"]["name"]
            body = changes.resize_body(pod["spec"], self._change.containers)
            where = (access.RESIZE_POD, space, name)
            try:
                await self._reader.requests.patch(*where, "strategic", body, dry_run=True)
            except WorkloadGoneError:
                continue
            except ApiError as error:
                return [_refusal(resize_refused(error, name))]
            return []
        return []


def _surges(spec: Json) -> bool:
    """Whether a rollout of one replica has its successor ready before the pod ends."""
    rolling = dig(spec, ("strategy", "rollingUpdate"))
    if rolling is None:
        return False
    surge, unavailable = str(rolling.get("maxSurge", 0)), str(rolling.get("maxUnavailable", 0))
    # Of one replica, Kubernetes rounds a share of surge up to 1, and any but all of it unavailable down to 0.
    return surge not in ("0", "0%") and (
        unavailable == "0" or (unavailable[-1] == "%" and unavailable != "100%")
    )


def _refusal(error: Any) -> Finding:
    code = "dry_run_refused"
    if isinstance(error, FieldConflictError):
        code = "field_conflict"
    elif isinstance(error, ResizeRefusedError):
        code = "resize_unsupported" if error.rollout else "node_capacity"
    return Finding(code=code, message=error.message, remedy=error.remedy)
