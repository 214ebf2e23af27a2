"""What a server holds where an analysis finds nothing: the reason, and what to do about it. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from perfopt.domain.period import format_instant
from perfopt.domain.workload import WorkloadId
from perfopt.errors import NoDataError
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import InstantSample

SEEN_BEFORE = timedelta(days=1)
"""How far back kube-state-metrics is looked for where it shows nothing at an instant."""

_USE_BY_RESOURCE = {
    "memory": "container_memory_working_set_bytes",
    "cpu": "container_cpu_usage_seconds_total",
}
_SCRAPE = "Scrape kube-state-metrics (kube_pod_owner, kube_pod_container_info, ...) into the same server."


def nothing_to_analyse(
    server: str, at: datetime, names: Collection[str] | None, last_state: Iterable[InstantSample]
) -> NoDataError:
    """Returns why a source shows no workload.

    Args:
        server: how messages call it.
        at: the instant asked for.
        names: of the metrics in the day before; None where the server does not list them.
        last_state: when kube-state-metrics was last seen before, seconds since the epoch.
    """
    last = max((sample.value for sample in last_state), default=None)
    if last is not None:
        seen = datetime.fromtimestamp(last, UTC)
        return _error(
            f"{server} has no kube-state-metrics series at {format_instant(at)}: they end at"
            f" {format_instant(seen)}.",
            "See why kube-state-metrics stopped, or end the analysis before that.",
        )
    if names is None or any(name in names for name in _USE_BY_RESOURCE.values()):
        what = "has use of containers, but no" if names else "shows no"
        return _error(
            f"{server} {what} kube-state-metrics series, which name the workloads, in the day before"
            f" {format_instant(at)}.",
            _SCRAPE,
        )
    return _error(
        f"{server} holds neither use of containers nor kube-state-metrics series in the day before"
        f" {format_instant(at)}.",
        "Check its address, `matchers` and the end of the period, and that cAdvisor and kube-state-metrics"
        " are scraped.",
    )


@dataclass(frozen=True, slots=True)
class SeenSeries:
    """What series there are of a workload's pods.

    Attributes:
        there: kinds of series: memory, cpu, sums, cpu_sums, exported, renamed.
        elsewhere: values of the cluster label, other than the workload's, under which there are series.
    """

    there: frozenset[str] = frozenset()
    elsewhere: tuple[str, ...] = ()


def seen_series(samples: Iterable[InstantSample], cluster_label: str, cluster: str) -> SeenSeries:
    """Returns what counts of series by cluster and the label `what` show of a workload of a cluster."""
    by_cluster: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.value > 0:
            by_cluster[sample.labels.get(cluster_label, "")].add(sample.labels.get("what", ""))
    there = frozenset(by_cluster.pop(cluster, ()))
    return SeenSeries(there, tuple(sorted(by_cluster)))


def no_sample(
    server: str, workload: WorkloadId, grid: TimeGrid, seen: SeenSeries | None, cluster_label: str = "cluster"
) -> NoDataError:
    """Returns why there is no use of a workload.

    Args:
        server: how messages call it.
        workload: its full name.
        grid: the period.
        seen: what there is of its pods; None where no pod of it is known.
        cluster_label: the label that names the cluster.
    """
    where = f"of {workload} from {format_instant(grid.start)} to {format_instant(grid.end)}"
    there = frozenset() if seen is None else seen.there
    if seen is not None and not there and seen.elsewhere:
        found = ", ".join(repr(value) for value in seen.elsewhere[:5])
        return _error(
            f"{server} holds no sample {where}: use of its pods has {cluster_label} = {found}, and"
            f" kube-state-metrics has {cluster_label} = {workload.cluster!r}.",
            f"Give cAdvisor and kube-state-metrics the same label {cluster_label}, or set `cluster_label` to"
            " one that both have.",
        )
    if there & {"sums", "cpu_sums"} and not there & {"memory", "cpu"}:
        return _error(
            f"{server} holds sums of pods only, and no sample of containers, {where}: the label container is"
            " empty.",
            "Let cAdvisor see containers (cri-dockerd and some k3s show pods only: use containerd, or scrape"
            " the kubelet's /metrics/resource).",
        )
    if "exported" in there:
        return _error(
            f"{server} holds no sample {where}: its pods are in the label exported_pod.",
            "Set `honorLabels: true` (honor_labels) for cAdvisor in the scrape configuration.",
        )
    if "renamed" in there:
        return _error(
            f"{server} holds no sample {where}: its pods are in the label pod_name (Kubernetes 1.15).",
            "Relabel pod_name to pod and container_name to container when cAdvisor is scraped.",
        )
    if there:
        return one_sample_a_step(server, grid)
    return NoDataError(
        f"{server} holds no sample {where}: kube-state-metrics names it, but no container of its pods has"
        " container_cpu_usage_seconds_total or container_memory_working_set_bytes"
        f"{': no series of kube_pod_owner names a pod of it' if seen is None else ''}.",
        field="analysis_period",
        remedy="Check the period, that cAdvisor (the kubelet's /metrics/cadvisor) is scraped with the labels"
        " namespace, pod and container, and that kube_pod_owner of kube-state-metrics is let through.",
    )


def one_sample_a_step(server: str, grid: TimeGrid) -> NoDataError:
    """Returns why there is no rate although there is a counter."""
    return NoDataError(
        f"{server} holds one sample of CPU in {grid.step_seconds} s at most, and a rate needs two.",
        field="scrape_interval_seconds",
        remedy="Set `scrape_interval_seconds` of the source to the interval at which cAdvisor is scraped.",
    )


def missing_metrics(
    server: str, grid: TimeGrid, lacking: Collection[str], seen: SeenSeries | None
) -> tuple[str, str]:
    """Returns the code and sentence of a warning that use of one resource is not there.

    Args:
        server: how messages call it.
        grid: the period.
        lacking: "cpu", "memory".
        seen: what there is of the workload's pods.
    """
    if "cpu" in lacking and seen is not None and "cpu" in seen.there:
        return "scrape_interval", one_sample_a_step(server, grid).explained
    names = " and ".join(_USE_BY_RESOURCE[resource] for resource in sorted(lacking))
    text = f"{server} has no {names} of its containers. Let it through where cAdvisor is scraped."
    return "missing_metric", text


def _error(text: str, remedy: str) -> NoDataError:
    return NoDataError(text, field="source", remedy=remedy)
