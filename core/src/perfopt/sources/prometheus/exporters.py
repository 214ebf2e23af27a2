"""Exporters that show requests and limits under kube-state-metrics' names and are not it. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perfopt.errors import SourceError
from perfopt.sources.prometheus.answer import InstantSample

type _Target = tuple[str, str]
_DECLARED = ("requests", "limits")
_PREFIX = "kube_pod_container_resource_"


@dataclass(frozen=True, slots=True)
class ForeignExporters:
    """Whose requests and limits are left out.

    Attributes:
        jobs: that hold no kube-state-metrics.
        targets: (job, instance) beside a kube-state-metrics of the same job.
    """

    jobs: frozenset[str] = frozenset()
    targets: frozenset[_Target] = frozenset()

    def exported(self, labels: Mapping[str, str]) -> bool:
        """Returns whether a series of requests or limits is of one of them."""
        return labels.get("job") in self.jobs or _target(labels) in self.targets

    def without(self, samples: Iterable[InstantSample]) -> list[InstantSample]:
        """Returns the samples that are of none of them."""
        return [sample for sample in samples if not self.exported(sample.labels)]

    def left_out(self, labels: Mapping[str, str]) -> bool:
        """Returns whether a series of any metric of containers' state is left out."""
        return labels.get("__name__", "").startswith(_PREFIX) and self.exported(labels)

    def notes(self) -> tuple[str, ...]:
        """Returns a warning of what is left out; none where nothing is."""
        jobs = [f"job = {job!r}" for job in sorted(self.jobs)]
        targets = [f"job = {job!r}, instance = {instance!r}" for job, instance in sorted(self.targets)]
        if not jobs and not targets:
            return ()
        return (
            f"Requests and limits of {'; '.join([*jobs, *targets])} are left out: it is no"
            " kube-state-metrics, and exports them under its names, of its own reckoning.",
        )


def foreign_exporters(
    samples: Mapping[str, Sequence[InstantSample]], server: str, cluster_label: str
) -> ForeignExporters:
    """Returns who exports requests and limits and is no kube-state-metrics.

    That has what no other exporter has: kube_pod_container_info and replicas of Deployments. A target of its
    job without these is another exporter where all that it declares is declared by one that has them.

    Args:
        samples: the answers to the state queries.
        server: how messages call it.
        cluster_label: the label that names the cluster.

    Raises:
        SourceError: exporters disagree on a request or a limit, and none of them has these.
    """
    own = {_target(s.labels) for name in ("containers", "replicas") for s in samples.get(name, ())}
    own_jobs = {job for job, _ in own}
    declared = {name: samples.get(name, ()) for name in _DECLARED}
    jobs = {s.labels["job"] for some in declared.values() for s in some if s.labels.get("job")}
    if not own_jobs & jobs:
        for name, some in declared.items():
            _require_one_value(name, some, server, cluster_label)
        return ForeignExporters()
    places: dict[_Target, set[tuple[str, ...]]] = defaultdict(set)
    for name, some in declared.items():
        for sample in some:
            places[_target(sample.labels)].add((name, *_place(sample.labels, cluster_label)))
    known = {place for target in own for place in places.get(target, ())}
    targets = {t for t, shown in places.items() if t[0] in own_jobs and t not in own and shown <= known}
    return ForeignExporters(frozenset(jobs - own_jobs), frozenset(targets))


def _require_one_value(name: str, some: Iterable[InstantSample], server: str, cluster_label: str) -> None:
    of: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for sample in some:
        of[_place(sample.labels, cluster_label)][sample.labels.get("job", "")] = sample.value
    for (_, *place), values in of.items():
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{value:g} by job = {job!r}" for job, value in sorted(values.items()))
            raise SourceError(
                f"{server} has different {name} of {'/'.join(place)}: {shown}.",
                field="matchers",
                remedy="Choose the job of kube-state-metrics with `matchers` of the source, or let"
                " kube_pod_container_info through.",
            )


def _place(labels: Mapping[str, str], cluster_label: str) -> tuple[str, ...]:
    names = (cluster_label, "namespace", "pod", "container", "resource")
    return tuple(labels.get(name, "") for name in names)


def _target(labels: Mapping[str, str]) -> _Target:
    return labels.get("job", ""), labels.get("instance", "")
