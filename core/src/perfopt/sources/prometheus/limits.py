"""What a cluster takes: its largest node, and each namespace's LimitRange and ResourceQuota. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from perfopt.domain.limits import BoundRange, ClusterLimits
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.numbers import amount

Place = tuple[str, str]


def cluster_limits(
    samples: Mapping[str, Sequence[InstantSample]], cluster_label: str
) -> dict[Place, ClusterLimits]:
    """Returns the limits of each (cluster, namespace); those of a cluster under the namespace "".

    Args:
        samples: the answers to the state queries `allocatable`, `limit_ranges` and `quotas`.
        cluster_label: the label that names the cluster.
    """
    nodes: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples.get("allocatable", ()):
        value = amount(sample.value)
        if value:
            nodes[sample.labels.get(cluster_label, "")][sample.labels.get("resource", "")] = value
    ranges = _ranges(samples.get("limit_ranges", ()), cluster_label)
    free = _free(samples.get("quotas", ()), cluster_label)
    places = {*ranges, *free, *((cluster, "") for cluster in nodes)}
    return {
        place: ClusterLimits(
            node_cpu_cores=nodes.get(place[0], {}).get("cpu"),
            node_memory_bytes=nodes.get(place[0], {}).get("memory"),
            container_cpu=ranges.get(place, {}).get(("Container", "cpu"), BoundRange()),
            container_memory=ranges.get(place, {}).get(("Container", "memory"), BoundRange()),
            pod_cpu=ranges.get(place, {}).get(("Pod", "cpu"), BoundRange()),
            pod_memory=ranges.get(place, {}).get(("Pod", "memory"), BoundRange()),
            free_requests_cpu=free.get(place, {}).get("requests.cpu"),
            free_requests_memory=free.get(place, {}).get("requests.memory"),
            free_limits_cpu=free.get(place, {}).get("limits.cpu"),
            free_limits_memory=free.get(place, {}).get("limits.memory"),
        )
        for place in places
    }


def _ranges(
    samples: Iterable[InstantSample], cluster_label: str
) -> dict[Place, dict[tuple[str, str], BoundRange]]:
    """Returns the strictest range of each (type, resource) of a namespace."""
    ranges: dict[Place, dict[tuple[str, str], BoundRange]] = defaultdict(dict)
    for sample in samples:
        labels, value = sample.labels, amount(sample.value)
        place = labels.get(cluster_label, ""), labels.get("namespace", "")
        key = labels.get("type", ""), labels.get("resource", "")
        if value:
            known = ranges[place].get(key, BoundRange())
            ranges[place][key] = _stricter(known, labels.get("constraint", ""), value)
    return ranges


def _stricter(known: BoundRange, constraint: str, value: float) -> BoundRange:
    """Returns a range with one more constraint of a LimitRange."""
    if constraint == "max":
        return BoundRange(known.least, min(value, known.most or value), known.ratio)
    if constraint == "min":
        return BoundRange(max(value, known.least or 0.0), known.most, known.ratio)
    return BoundRange(known.least, known.most, min(value, known.ratio or value))


def _free(samples: Iterable[InstantSample], cluster_label: str) -> dict[Place, dict[str, float]]:
    """Returns what quotas leave of each resource: hard less used, of several quotas the least."""
    quotas: dict[tuple[Place, str, str], dict[str, float]] = defaultdict(dict)
    for sample in samples:
        labels, value = sample.labels, amount(sample.value)
        resource = labels.get("resource", "")
        resource = resource if "." in resource else f"requests.{resource}"
        place = labels.get(cluster_label, ""), labels.get("namespace", "")
        if value is not None:
            quotas[place, labels.get("resourcequota", ""), resource][labels.get("type", "")] = value
    free: dict[Place, dict[str, float]] = defaultdict(dict)
    for (place, _, resource), quota in quotas.items():
        if "hard" in quota:
            left = max(quota["hard"] - quota.get("used", 0.0), 0.0)
            free[place][resource] = min(left, free[place].get(resource, left))
    return free
