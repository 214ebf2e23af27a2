"""What a proposal changes of the state it was made from: only that is its to answer for."""

from collections.abc import Container as Holds

import msgspec

from perfopt.domain.workload import Container, WorkloadState

MEMORY = frozenset({"memory_request_bytes", "memory_limit_bytes"})
QUANTITIES = MEMORY | {"cpu_request_cores", "cpu_limit_cores"}


def keeping(container: Container, fields: Holds[str]) -> Container:
    """Returns a container with only these of its four quantities set."""
    return msgspec.structs.replace(container, **{field: None for field in QUANTITIES if field not in fields})


def changed_quantities(
    target: WorkloadState, current: WorkloadState, always: frozenset[str] = frozenset()
) -> WorkloadState | None:
    """Returns the target with only those quantities set that differ from the current state.

    A changed CPU limit stands where an unchanged request stands: demand must fit under it as often.

    Args:
        target: the state proposed.
        current: the state of the same workload that it was proposed for.
        always: quantities that are kept although they are as they were, because the load on them is not.

    Returns:
        None where no quantity is left.
    """
    containers = tuple(_changed(new, current.container(new.name), always) for new in target.containers)
    if all(container == keeping(container, ()) for container in containers):
        return None
    return msgspec.structs.replace(target, containers=containers)


def _changed(new: Container, old: Container | None, always: frozenset[str]) -> Container:
    before = old if old is not None else Container(name=new.name)
    moved = {field for field in QUANTITIES if getattr(new, field) != getattr(before, field)}
    kept = keeping(new, moved | always)
    if kept.cpu_request_cores is None and kept.cpu_limit_cores is not None:
        kept = msgspec.structs.replace(kept, cpu_request_cores=kept.cpu_limit_cores)
    return kept
