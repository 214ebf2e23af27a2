"""The state of a workload that has no pod now: what its last pods had. Pure."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from perfopt.domain.workload import Container, Workload
from perfopt.sources.prometheus.declared import workload_state
from perfopt.sources.prometheus.numbers import amount, whole
from perfopt.sources.prometheus.rows import SeriesRow

_DECLARED = ("cpu_request_cores", "cpu_limit_cores", "memory_request_bytes", "memory_limit_bytes")


def with_last_state(workload: Workload, rows: Iterable[SeriesRow]) -> Workload:
    """Returns a workload with the requests and limits of its last pods, where it has none now.

    Args:
        workload: scaled to zero, between the runs of a job, or with pods, and then as it is.
        rows: of it.
    """
    if workload.state.containers:
        return workload
    last: dict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
    for row in rows:
        if row.metric in _DECLARED and len(row.series.times):
            at, value = int(row.series.times[-1]), amount(float(row.series.values[-1]))
            known = last[row.container].get(row.metric)
            if value is not None and (known is None or at > known[0]):
                last[row.container][row.metric] = at, value
    if not last:
        return workload
    state = workload_state([_container(name, amounts) for name, amounts in sorted(last.items())])
    return msgspec.structs.replace(
        workload,
        state=msgspec.structs.replace(workload.state, containers=state.containers, basis=state.basis),
    )


def _container(name: str, amounts: dict[str, tuple[int, float]]) -> Container:
    values = {metric: value for metric, (_, value) in amounts.items()}
    memory = {m: whole(values[m]) for m in ("memory_request_bytes", "memory_limit_bytes") if m in values}
    return Container(
        name=name,
        cpu_request_cores=values.get("cpu_request_cores"),
        cpu_limit_cores=values.get("cpu_limit_cores") or None,
        memory_request_bytes=memory.get("memory_request_bytes"),
        memory_limit_bytes=memory.get("memory_limit_bytes") or None,
    )
