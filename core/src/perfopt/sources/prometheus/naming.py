"""Which workloads a server can add up together by the names of their pods. Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from perfopt.domain.workload import WorkloadId
from perfopt.sources.prometheus.owners import PodKey
from perfopt.sources.prometheus.promql import escape_regex

ANY_POD = "()(?:.*)"
"""Matches the pod of a workload that is asked for by itself."""

_POD_SUFFIX = {
    "Deployment": "-[a-z0-9]+-[a-z0-9]+",
    "Rollout": "-[a-z0-9]+-[a-z0-9]+",
    "CronJob": "-[0-9]+-[a-z0-9]+",
    "StatefulSet": "-[0-9]+",
}
_OTHER_SUFFIX = "-[a-z0-9]+"


def groups(
    identities: Sequence[WorkloadId], pods: Mapping[PodKey, WorkloadId], *, by_pod: bool
) -> list[list[WorkloadId]]:
    """Returns the workloads of each kind together; by itself one whose pods its name does not tell.

    Which pods are whose is known from their owners. A pattern is only how the server is to add them up, so
    it serves where it finds the same.
    """
    kinds: dict[str, list[WorkloadId]] = defaultdict(list)
    for identity in identities:
        kinds[identity.kind].append(identity)
    if not by_pod:
        return list(kinds.values())
    batches = []
    for same_kind in kinds.values():
        known = re.compile(pod_pattern(same_kind))
        names = {identity: identity.name for identity in same_kind}
        odd = {
            owner
            for pod, owner in pods.items()
            if owner in names and ((match := known.fullmatch(pod.name)) is None or match[1] != names[owner])
        }
        there = set(pods.values())
        batches += [[identity] for identity in same_kind if identity in odd]
        batches.append([i for i in same_kind if i not in odd and i in there])
    return [group for group in batches if group]


def pod_pattern(same_kind: Sequence[WorkloadId]) -> str:
    """Returns a regular expression for a pod's name, with the workload's as group 1."""
    names = "|".join(sorted(escape_regex(identity.name) for identity in same_kind))
    return f"({names}){_POD_SUFFIX.get(same_kind[0].kind, _OTHER_SUFFIX)}"
