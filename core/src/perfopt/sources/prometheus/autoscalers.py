"""Autoscalers as kube-state-metrics shows them, also where it shows a part of them only. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perfopt.domain.workload import HpaState, WorkloadId
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.numbers import replica_count, whole

KEDA_PREFIX = "keda-hpa-"
UNKNOWN_METRIC = "unknown"
"""Stands for the metrics of an autoscaler that the source does not show."""

_USUAL_NAMES = re.compile(r"^(?:keda-hpa-|hpa-)?(.+?)(?:-hpa|-autoscaler)?$")
_KEDA_LABEL = "label_scaledobject_keda_sh_name"


@dataclass(frozen=True, slots=True)
class WorkloadScaling:
    """What scales one workload.

    Attributes:
        hpa: its HorizontalPodAutoscalers put together; None without one.
        keda: the ScaledObject behind it, if any.
        unknown: names of autoscalers that may be for it and whose target or metrics are not shown, and of
            several that scale it at once: each measures for itself what the others change.
        name: of the one autoscaler.
    """

    hpa: HpaState | None = None
    keda: str | None = None
    unknown: tuple[str, ...] = ()
    name: str = ""


Key = tuple[str, str, str]


@dataclass(slots=True)
class AutoscalerSamples:
    """The answers to the state queries about autoscalers.

    Attributes:
        cluster_label: the label that names the cluster.
    """

    samples: Mapping[str, Sequence[InstantSample]]
    cluster_label: str
    _bounds: dict[str, dict[Key, int]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for name in ("hpa_min", "hpa_max"):
            for sample in self.samples.get(name, ()):
                value = replica_count(sample.value)
                if value is not None:
                    self._bounds[name][self._key(sample)] = value

    def of(self, identities: Iterable[WorkloadId]) -> dict[WorkloadId, WorkloadScaling]:
        """Returns what scales each workload that an autoscaler is for, or may be for."""
        scalings: dict[WorkloadId, list[WorkloadScaling]] = defaultdict(list)
        targets = self._targets()
        for key in sorted(targets):
            scalings[targets[key]].append(self._known(key))
        for identity, unknown in self._unknown(identities, set(targets)).items():
            scalings[identity] += unknown
        return {identity: _together(several) for identity, several in scalings.items()}

    def _targets(self) -> dict[Key, WorkloadId]:
        return {
            self._key(sample): WorkloadId(
                cluster=sample.labels.get(self.cluster_label, ""),
                namespace=sample.labels.get("namespace", ""),
                kind=sample.labels["scaletargetref_kind"],
                name=sample.labels["scaletargetref_name"],
            )
            for sample in self.samples.get("hpa", ())
            if sample.labels.get("scaletargetref_kind") and sample.labels.get("scaletargetref_name")
        }

    def _known(self, key: Key) -> WorkloadScaling:
        metrics = [s for s in self.samples.get("hpa_targets", ()) if self._key(s) == key]
        hpa = self._state(key, metrics)
        known = hpa is not None and metrics and not any(_is_no_target(sample) for sample in metrics)
        unknown = () if known else (key[2],)
        return WorkloadScaling(hpa, self._keda(key), unknown, key[2])

    def _unknown(
        self, identities: Iterable[WorkloadId], known: set[Key]
    ) -> dict[WorkloadId, list[WorkloadScaling]]:
        """Gives an autoscaler without a target to its namesake, else to all that it may be for."""
        scalable = [i for i in identities if i.kind != "DaemonSet" and not i.runs_to_completion]
        scalings: dict[WorkloadId, list[WorkloadScaling]] = defaultdict(list)
        status = {self._key(sample) for sample in self.samples.get("hpa_status", ())}
        for key in sorted({*self._bounds["hpa_max"], *self._bounds["hpa_min"], *status} - known):
            near = [i for i in scalable if (i.cluster, i.namespace) == key[:2]]
            match = _USUAL_NAMES.match(key[2])
            names = {key[2], match[1] if match else key[2]}
            own = [i for i in near if i.name in names]
            for identity in own:
                scalings[identity].append(
                    WorkloadScaling(self._state(key, ()), self._keda(key), (key[2],), key[2])
                )
            for identity in () if own else near:
                scalings[identity].append(WorkloadScaling(unknown=(key[2],)))
        return scalings

    def _state(self, key: Key, metrics: Sequence[InstantSample]) -> HpaState | None:
        """Returns its state; None where its bounds are not known, or cannot be."""
        most, least = self._bounds["hpa_max"].get(key), self._bounds["hpa_min"].get(key, 1)
        if not most or least > most:
            return None
        utilization: dict[str, int] = {}
        others = set() if metrics else {UNKNOWN_METRIC}
        for sample in metrics:
            metric, how = sample.labels.get("metric_name", ""), sample.labels.get("metric_target_type", "")
            percent = whole(sample.value)
            if metric in ("cpu", "memory") and how == "utilization" and percent:
                utilization[metric] = percent
            else:
                others.add(metric)
        return HpaState(
            min_replicas=least,
            max_replicas=most,
            target_cpu_utilization_percent=utilization.get("cpu"),
            target_memory_utilization_percent=utilization.get("memory"),
            other_metrics=tuple(sorted(others)),
        )

    def _keda(self, key: Key) -> str | None:
        """Returns the ScaledObject by the label that KEDA gives its autoscaler, or by its name."""
        for sample in self.samples.get("hpa_labels", ()):
            if self._key(sample) == key and sample.labels.get(_KEDA_LABEL):
                return sample.labels[_KEDA_LABEL]
        return key[2].removeprefix(KEDA_PREFIX) if key[2].startswith(KEDA_PREFIX) else None

    def _key(self, sample: InstantSample) -> Key:
        labels = sample.labels
        name = labels.get("horizontalpodautoscaler") or labels.get("hpa", "")
        return labels.get(self.cluster_label, ""), labels.get("namespace", ""), name


def _is_no_target(sample: InstantSample) -> bool:
    """Returns whether a metric's target is a utilisation that cannot be."""
    return sample.labels.get("metric_target_type") == "utilization" and not whole(sample.value)


def _together(several: Sequence[WorkloadScaling]) -> WorkloadScaling:
    """Puts the autoscalers of one workload together: several on one are all in force."""
    states = [one.hpa for one in several if one.hpa is not None]
    keda = next((one.keda for one in several if one.keda is not None), None)
    unknown = tuple(dict.fromkeys(name for one in several for name in one.unknown))
    if len(states) < 2:
        return WorkloadScaling(states[0] if states else None, keda, unknown)
    return WorkloadScaling(
        HpaState(
            min_replicas=max(state.min_replicas for state in states),
            max_replicas=max(state.max_replicas for state in states),
            target_cpu_utilization_percent=_least(s.target_cpu_utilization_percent for s in states),
            target_memory_utilization_percent=_least(s.target_memory_utilization_percent for s in states),
            other_metrics=tuple(sorted({name for state in states for name in state.other_metrics})),
        ),
        keda,
        tuple(dict.fromkeys((*unknown, *(one.name for one in several if one.name)))),
    )


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
