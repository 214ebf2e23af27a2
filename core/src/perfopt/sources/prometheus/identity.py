"""Whose series they are: copies of one cluster's, other clusters', or those of a scrape target. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perfopt.errors import SourceError
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.exporters import ForeignExporters

TARGET_LABELS = (
    "job",
    "instance",
    "endpoint",
    "service",
    "container",
    "metrics_path",
    "node",
)
"""Labels that Prometheus gives to the series of a scrape target, beside the pod and its namespace."""

_REPLICA_LABEL = re.compile(r"(?:^|_)replica(?:_|$)|^prometheus$|receive")
_OBJECT_LABELS = ("deployment", "statefulset", "daemonset", "cronjob")
_CLUSTER_LABEL = re.compile(
    r"cluster|^(?:env|environment|region|datacenter|dc|site|tenant|account|project|stage)$"
)
_RENAMED = re.compile(r"(?:^|_)(?:namespace|pod|container)(?:_|$)")
_PLACE = ("namespace", "pod", "container")
_SAME = 0.5  # copies of one cluster share nearly all pods, two clusters none; some come and go in between
_HONOR_LABELS = "Set `honorLabels: true` (honor_labels) for it in the scrape configuration."


@dataclass(frozen=True, slots=True)
class CopyLabels:
    """Labels by which copies of one series differ.

    Attributes:
        replicas: of servers that scrape the same.
        targets: of scrape targets, the replicas' labels among them.
        foreign: who exports requests and limits under kube-state-metrics' names and is not it.
    """

    replicas: tuple[str, ...]
    targets: tuple[str, ...]
    foreign: ForeignExporters = field(default_factory=ForeignExporters)


def copy_labels(configured: Iterable[str], names: Iterable[str]) -> CopyLabels:
    """Returns the labels by which copies differ.

    Args:
        configured: labels of replicas.
        names: all label names of the server; those that name a replica count as such.
    """
    replicas = tuple(dict.fromkeys([*configured, *sorted(n for n in names if _REPLICA_LABEL.search(n))]))
    return CopyLabels(replicas, tuple(dict.fromkeys([*TARGET_LABELS, *replicas])))


def differing_labels(
    objects: Iterable[InstantSample], cluster_label: str, replicas: Sequence[str]
) -> dict[str, list[str]]:
    """Returns the labels in which series of one object differ, with their values.

    Args:
        objects: one series for each copy of a workload's object.
        cluster_label: the label that names the cluster.
        replicas: labels of replicas, which are left out.
    """
    copies: dict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for sample in objects:
        copies[_object(sample.labels, cluster_label)].append(sample.labels)
    seen: dict[str, set[str]] = defaultdict(set)
    own = {cluster_label, "__name__", "namespace", *_OBJECT_LABELS, *replicas}
    for several in copies.values():
        if len(several) > 1:
            for label in {name for labels in several for name in labels} - own:
                values = {labels.get(label, "") for labels in several}
                if len(values) > 1:
                    seen[label] |= values
    return {label: sorted(values) for label, values in sorted(seen.items())}


def _object(labels: Mapping[str, str], cluster_label: str) -> tuple[str, ...]:
    names = ("__name__", cluster_label, "namespace", *_OBJECT_LABELS)
    return tuple(labels.get(name, "") for name in names)


def require_one_cluster(
    differing: Mapping[str, Sequence[str]], pods: Iterable[InstantSample], server: str, cluster_label: str
) -> tuple[str, ...]:
    """Returns the labels by which copies of one cluster differ.

    Args:
        differing: labels in which series of one object differ, with their values.
        pods: one series for each pod and combination of these labels.
        server: how messages call it.
        cluster_label: the label that names the cluster.

    Raises:
        SourceError: the pods are others by a label: these are several clusters. It names the label and its
            values.
    """
    pods = list(pods)
    for label, values in differing.items():
        if _CLUSTER_LABEL.search(label) or not _same_pods(label, values, pods):
            raise SourceError(
                f"{server} holds several clusters that the label {cluster_label!r} does not tell apart: one"
                f" workload has series with {label} = {', '.join(repr(v) for v in values[:10])}.",
                field="cluster_label",
                remedy=f"Set `cluster_label: {label}` of the source, or choose one with `matchers`:"
                f" ['{label}=\"{values[-1]}\"'].",
            )
    return tuple(label for label in differing if label not in _PLACE)


def _same_pods(label: str, values: Sequence[str], pods: Iterable[InstantSample]) -> bool:
    """Returns whether each side has pods of another side; a side without pods is one that has ended."""
    sides: dict[str, set[tuple[str, ...]]] = {value: set() for value in values}
    for sample in pods:
        labels = sample.labels
        if labels.get(label, "") in sides:
            identity = tuple(labels.get(name, "") for name in ("namespace", "pod", "uid"))
            sides[labels.get(label, "")].add(identity)
    present = [side for side in sides.values() if side]
    return all(
        any(len(side & other) >= _SAME * min(len(side), len(other)) for other in present if other is not side)
        for side in present
        if len(present) > 1
    )


def require_own_labels(foreign: Iterable[InstantSample], server: str, *, others: bool) -> tuple[str, ...]:
    """Returns warnings of series in which the labels of the scrape target stand for the object's.

    Args:
        foreign: groups of series with `exported_` labels, by job and namespace of the target.
        server: how messages call it.
        others: whether there are series with labels of their own.

    Raises:
        SourceError: there are none but these.
    """
    jobs = sorted({_target(sample.labels) for sample in foreign})
    if not jobs:
        return ()
    where = ", ".join(jobs[:5])
    what = (
        f"{server} has kube-state-metrics series whose namespace and pod are those of the scrape target, and"
        f" the object's are in exported_namespace and exported_pod ({where})"
    )
    if others:
        return (f"{what}. They are left out. {_HONOR_LABELS}",)
    raise SourceError(f"{what}. Nothing is sized by them.", field="source", remedy=_HONOR_LABELS)


def require_namespaces(objects: Iterable[InstantSample], server: str) -> None:
    """Requires that series of objects carry the label `namespace`.

    Raises:
        SourceError: none of them does. It names the labels that seem to stand for it.
    """
    names: set[str] = set()
    for sample in objects:
        if "namespace" in sample.labels:
            return
        names |= sample.labels.keys()
    if not names:
        return
    others = sorted(name for name in names if _RENAMED.search(name)) or sorted(names)[:10]
    raise SourceError(
        f"The kube-state-metrics series of {server} have no label namespace; they have {', '.join(others)}.",
        field="source",
        remedy="Relabel them to namespace, pod and container, as kube-state-metrics and cAdvisor call them.",
    )


def _target(labels: Mapping[str, str]) -> str:
    job, namespace = labels.get("job", "no job"), labels.get("namespace", "")
    return f"job {job} in namespace {namespace}" if namespace else f"job {job}"
