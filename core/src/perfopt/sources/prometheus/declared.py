"""What containers declare: requests, limits, runtimes; and the state of a workload that they make up."""

from collections.abc import Mapping, Sequence

import msgspec

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, WorkloadState


def with_runtimes(containers: list[Container], named: Mapping[str, Mapping[str, str]]) -> list[Container]:
    """Adds the runtimes; those of a scrape that names no container only where there is but one."""
    alone = sum(not container.sidecar for container in containers) == 1
    return [
        msgspec.structs.replace(
            one, runtimes={**(named.get("", {}) if alone else {}), **named.get(one.name, {})}
        )
        if named and not one.sidecar
        else one
        for one in containers
    ]


def workload_state(containers: Sequence[Container]) -> WorkloadState:
    """Returns the state of containers, with requests taken from limits where only those are known.

    The basis shows that; it is UNKNOWN where nothing is known of any container.
    """
    filled = tuple(
        msgspec.structs.replace(
            container,
            cpu_request_cores=_first(container.cpu_request_cores, container.cpu_limit_cores),
            memory_request_bytes=_first(container.memory_request_bytes, container.memory_limit_bytes),
        )
        for container in containers
    )
    if filled != tuple(containers):
        return WorkloadState(containers=filled, basis=Basis.ASSUMED_FROM_LIMIT)
    known = any(c.cpu_request_cores is not None or c.memory_request_bytes is not None for c in filled)
    return WorkloadState(containers=filled, basis=Basis.DECLARED if known else Basis.UNKNOWN)


def _first[T](value: T | None, otherwise: T | None) -> T | None:
    return otherwise if value is None else value


def declared_container(
    name: str, image: str | None, amounts: Mapping[str, float], *, sidecar: bool
) -> Container:
    """Returns a container with its amounts; a limit of 0 is none, as Kubernetes means it."""
    request, limit = amounts.get("memory_request"), amounts.get("memory_limit") or None
    return Container(
        name=name,
        image=image or None,
        sidecar=sidecar,
        cpu_request_cores=amounts.get("cpu_request"),
        cpu_limit_cores=amounts.get("cpu_limit") or None,
        memory_request_bytes=None if request is None else int(request),
        memory_limit_bytes=None if limit is None else int(limit),
    )
