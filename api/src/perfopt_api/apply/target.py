"""Which Kubernetes object a recommendation is for."""

import re
from dataclasses import dataclass
from typing import Any

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError

_KINDS = {
    "deployment": ("apps/v1", "Deployment"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "daemonset": ("apps/v1", "DaemonSet"),
    "cronjob": ("batch/v1", "CronJob"),
}
_CUSTOM = {"rollout": ("argoproj.io/v1alpha1", "Rollout")}
_UNSUPPORTED = ("job", "replicaset", "replicationcontroller", "pod", "node")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KIND = re.compile(r"[a-z][a-z0-9]*")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class UnsupportedKindError(ConflictError):
    """A kind of workload that no patch can change usefully. HTTP 409."""

    code = "unsupported_kind"


@dataclass(frozen=True, slots=True)
class PatchTarget:
    """A workload as Kubernetes addresses it.

    Attributes:
        api_version, kind, name: of the object; of a custom kind that only the cluster knows the version is
            empty, and the kind in lower case.
        namespace: "" where the source knows none.
        notes: what was assumed, for the user to check.
    """

    api_version: str
    kind: str
    name: str
    namespace: str
    notes: tuple[str, ...]

    @property
    def scalable(self) -> bool:
        """Whether the kind is known to have its number of replicas at spec.replicas."""
        return self.kind in ("Deployment", "StatefulSet", "Rollout")

    @property
    def custom(self) -> bool:
        """Whether it is a custom resource, whose lists a merge patch replaces as a whole."""
        return (self.api_version, self.kind) not in _KINDS.values()

    def wrap(self, pod_spec: dict[str, Any]) -> dict[str, Any]:
        """Returns the spec of the object around a (partial) pod spec."""
        template = {"template": {"spec": pod_spec}}
        return {"jobTemplate": {"spec": template}} if self.kind == "CronJob" else template


def object_of(recommendation: OptimizationRecommendation) -> PatchTarget:
    """Reads `[cluster/]namespace/[kind/]name`.

    A workload without a kind is taken for a Deployment; a name that Kubernetes would refuse (series
    of files have such) is made into one that it takes. Both are said in the notes.

    Raises:
        UnsupportedKindError: a pod, a job, or what else cannot be resized by its template.
    """
    *scope, name = recommendation.workload.split("/")
    known = bool(scope) and scope[-1].lower() in (*_KINDS, *_CUSTOM, *_UNSUPPORTED)
    # Inventories name the kind of all they show: one that is not known is that of a custom resource. Series
    # of files have no kind; what stands before their name is one only where it is spelled like one.
    custom = len(scope) >= 2 and _KIND.fullmatch(scope[-1].lower()) is not None
    kind = scope.pop() if known or custom else ""
    if kind.lower() in _UNSUPPORTED:
        raise UnsupportedKindError(
            f"No patch can be written for {recommendation.workload}: its kind is {kind}.",
            remedy="Change what creates it: a Deployment, StatefulSet, DaemonSet, CronJob or custom kind.",
        )
    namespace = scope[-1] if scope else ""
    notes = []
    if not _NAME.fullmatch(name) or (namespace and not _NAME.fullmatch(namespace)):
        name, namespace = _NOT_IN_NAMES.sub("-", name.lower()).strip("-")[:63].strip("-") or "workload", ""
        notes.append(
            f"{recommendation.workload!r} is no Kubernetes name; put the workload's own in place of {name!r}."
        )
    if not kind:
        notes.append("The metric source knows no kind of workload; a Deployment is assumed.")
    if not namespace:
        notes.append("The metric source knows no namespace; the patch goes to the current one.")
    kind = kind.lower() or "deployment"
    api_version, spelled = (_KINDS | _CUSTOM).get(kind, ("", kind))
    return PatchTarget(api_version, spelled, name, namespace, tuple(notes))


def target_of(recommendation: OptimizationRecommendation) -> PatchTarget:
    """Returns the object that a patch is written for without asking the cluster; see `object_of`.

    Raises:
        UnsupportedKindError: a custom kind too, as where it has its containers is not known.
    """
    target = object_of(recommendation)
    if not target.api_version:
        raise UnsupportedKindError(
            f"No patch can be written for {recommendation.workload}: its kind is {target.kind}, which is"
            " not known.",
            remedy="Apply it with mode canary or direct, which ask the cluster.",
        )
    return target
