"""Every call that is made on the API, as one table: calls are made from it, and so is the role they need."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from perfopt_api.apply.cluster import FREEZE_CONFIG_MAP


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call.

    Attributes:
        verb: of RBAC: get, list, watch, patch, create, delete.
        group: of the API; "" is the core group.
        version: of the API, which roles do not name.
        resource: plural.
        subresource: such as scale; "" is the object itself.
        namespaced: whether its objects live in namespaces.
        name: the only object it is made on; "" is any.
    """

    verb: str
    group: str
    version: str
    resource: str
    subresource: str = ""
    namespaced: bool = True
    name: str = ""

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of a request."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.resource, name, self.subresource) if part]
        return "/".join(parts)

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in ("patch", "create", "delete")


GET_POD = Call("get", "", "v1", "pods")
LIST_PODS = Call("list", "", "v1", "pods")
WATCH_PODS = Call("watch", "", "v1", "pods")
RESIZE_POD = Call("patch", "", "v1", "pods", "resize")
EVICT_POD = Call("create", "", "v1", "pods", "eviction")
DELETE_POD = Call("delete", "", "v1", "pods")
LIST_NODES = Call("list", "", "v1", "nodes", namespaced=False)
GET_NAMESPACE = Call("get", "", "v1", "namespaces", namespaced=False)
GET_FREEZE = Call("get", "", "v1", "configmaps", name=FREEZE_CONFIG_MAP)
LIST_QUOTAS = Call("list", "", "v1", "resourcequotas")
LIST_LIMITS = Call("list", "", "v1", "limitranges")
LIST_REPLICA_SETS = Call("list", "apps", "v1", "replicasets")
LIST_REVISIONS = Call("list", "apps", "v1", "controllerrevisions")
LIST_AUTOSCALERS = Call("list", "autoscaling", "v2", "horizontalpodautoscalers")
LIST_JOBS = Call("list", "batch", "v1", "jobs")
PATCH_AUTOSCALER = Call("patch", "autoscaling", "v2", "horizontalpodautoscalers")
LIST_BUDGETS = Call("list", "policy", "v1", "poddisruptionbudgets")
LIST_SCALED_OBJECTS = Call("list", "keda.sh", "v1alpha1", "scaledobjects")
PATCH_SCALED_OBJECT = Call("patch", "keda.sh", "v1alpha1", "scaledobjects")
LIST_VERTICAL = Call("list", "autoscaling.k8s.io", "v1", "verticalpodautoscalers")

CALLS = (
    GET_POD,
    LIST_PODS,
    WATCH_PODS,
    RESIZE_POD,
    EVICT_POD,
    DELETE_POD,
    LIST_NODES,
    GET_NAMESPACE,
    GET_FREEZE,
    LIST_QUOTAS,
    LIST_LIMITS,
    LIST_REPLICA_SETS,
    LIST_REVISIONS,
    LIST_JOBS,
    LIST_AUTOSCALERS,
    PATCH_AUTOSCALER,
    LIST_BUDGETS,
    LIST_SCALED_OBJECTS,
    PATCH_SCALED_OBJECT,
    LIST_VERTICAL,
)


@dataclass(frozen=True, slots=True)
class WorkloadKind:
    """A kind of workload and how it is reached.

    Attributes:
        built_in: whether it takes strategic merge patches and server-side apply by container; of a custom
            kind, lists are owned as a whole.
        scale: whether it has a scale subresource.
    """

    group: str
    version: str
    plural: str
    kind: str
    built_in: bool = True
    scale: bool = True

    @property
    def api_version(self) -> str:
        """`apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def call(self, verb: str, subresource: str = "") -> Call:
        """A call on its objects."""
        return Call(verb, self.group, self.version, self.plural, subresource)

    def calls(self) -> tuple[Call, ...]:
        """Every call that is made on its objects."""
        calls = [self.call("get"), self.call("watch"), self.call("patch")]
        if self.scale and not self.built_in:
            calls += [self.call("get", "scale"), self.call("patch", "scale")]
        return tuple(calls)


DEPLOYMENT = WorkloadKind("apps", "v1", "deployments", "Deployment")
STATEFUL_SET = WorkloadKind("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SET = WorkloadKind("apps", "v1", "daemonsets", "DaemonSet", scale=False)
CRON_JOB = WorkloadKind("batch", "v1", "cronjobs", "CronJob", scale=False)
ROLLOUT = WorkloadKind("argoproj.io", "v1alpha1", "rollouts", "Rollout", built_in=False)
KINDS = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB, ROLLOUT)


def rules(kinds: Iterable[WorkloadKind] = KINDS, *, write: bool = True) -> list[dict[str, Any]]:
    """The least rules of a role that allow every call; without `write`, those that only read."""
    calls = [*CALLS, *(call for kind in kinds for call in kind.calls())]
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for call in calls:
        if call.writes and not write:
            continue
        resource = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
        known = verbs.setdefault((call.group, resource, call.name), [])
        if call.verb not in known:
            known.append(call.verb)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(allowed)}
        | ({"resourceNames": [name]} if name else {})
        for (group, resource, name), allowed in sorted(verbs.items())
    ]


def cluster_role(
    name: str = "perfopt-apply", kinds: Iterable[WorkloadKind] = KINDS, *, write: bool = True
) -> dict[str, Any]:
    """The ClusterRole with those rules."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    return head | {"rules": rules(kinds, write=write)}
