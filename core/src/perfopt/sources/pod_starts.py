"""How long pods took to be ready, from what kube-state-metrics or Kubernetes say of each. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from perfopt.metrics.snapshot import PodStart
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.owners import PodKey

LONGEST = timedelta(hours=1)
"""What took longer is no start-up: readiness that came back, or a pod that waited for something else."""

_SAME = timedelta(seconds=2)  # two sources' instants of one creation, each in whole seconds


def pod_start(pod: str, created: datetime, ready: datetime) -> PodStart | None:
    """Returns a start; None where its length is none that a start-up can have."""
    took = ready - created
    if not timedelta(0) <= took <= LONGEST:
        return None
    return PodStart(pod, ready, took.total_seconds())


def starts_of_pods(samples: Iterable[InstantSample], cluster_label: str) -> list[tuple[PodKey, PodStart]]:
    """Returns the starts in the answer to the catalogue's queries `pod_starts` and `pod_creations`.

    Args:
        samples: seconds since the epoch, labelled by `what`: created or ready. A pod of a StatefulSet comes
            back under its name, with another uid.
        cluster_label: the label that names the cluster.
    """
    conditions: dict[tuple[PodKey, str], dict[str, float]] = {}
    for sample in samples:
        labels = sample.labels
        pod = PodKey(labels.get(cluster_label, ""), labels.get("namespace", ""), labels.get("pod", ""))
        conditions.setdefault((pod, labels.get("uid", "")), {})[labels.get("what", "")] = sample.value
    starts = ((pod, _start(pod.name, times)) for (pod, _), times in sorted(conditions.items()))
    return [(pod, start) for pod, start in starts if start is not None]


def _start(name: str, times: Mapping[str, float]) -> PodStart | None:
    if not {"created", "ready"} <= times.keys():
        return None
    created, ready = (datetime.fromtimestamp(times[what], UTC) for what in ("created", "ready"))
    return pod_start(name, created, ready)


def known_starts(starts: Iterable[PodStart], end: datetime) -> tuple[PodStart, ...]:
    """Returns what was known just before an instant, oldest first, each start once.

    Of two accounts of one start (metrics and Kubernetes) the earlier counts: later ones have readiness that
    came back.
    """
    kept: dict[str, list[PodStart]] = {}
    for start in sorted(starts, key=lambda one: (one.ready, one.pod)):
        own = kept.setdefault(start.pod, [])
        if start.ready < end and not (start.pod and _is_known(start, own)):
            own.append(start)
    return tuple(sorted((one for own in kept.values() for one in own), key=lambda one: (one.ready, one.pod)))


def _is_known(start: PodStart, known: Sequence[PodStart]) -> bool:
    return any(abs(_created(start) - _created(one)) <= _SAME for one in known)


def _created(start: PodStart) -> datetime:
    return start.ready - timedelta(seconds=start.seconds)
