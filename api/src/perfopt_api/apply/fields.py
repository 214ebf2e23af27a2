"""Whose values stand in a workload's fields: those of before, the change's, or somebody else's. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from perfopt.domain.quantity import parse_quantity
from perfopt_api.apply.cluster import FIELD_MANAGER, ContainerSize, PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.state import ApplyOrder, ApplyState

_IN_TEMPLATE = ("containers.", "env.")


def same_value(path: str, one: Any, other: Any) -> bool:
    """Returns whether two values of a path are the same, however they are spelled."""
    if one is None or other is None or not path.startswith("containers."):
        return bool(one == other)
    return parse_quantity(str(one)) == parse_quantity(str(other))


def applied_fields(change: WorkloadChange) -> dict[str, Any]:
    """Returns what `Cluster.apply` sets of a change: a transient one leaves the template alone."""
    fields = change.fields()
    if change.durability == "template":
        return fields
    return {path: value for path, value in fields.items() if not path.startswith(_IN_TEMPLATE)}


def differing(view: WorkloadView, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the paths whose value is another one, with what is there."""
    return {
        path: view.fields.get(path)
        for path, value in values.items()
        if not same_value(path, view.fields.get(path), value)
    }


def written_stages(order: ApplyOrder, state: ApplyState) -> tuple[WorkloadChange, ...]:
    """Returns the stages that were begun, the present one last."""
    return order.stages[: state.stage + 1] if state.written else ()


def ours(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> tuple[str, ...]:
    """Returns the paths that hold a value of ours which nobody else has taken over since."""
    owned = []
    before = {} if state.snapshot is None else state.snapshot.fields
    stages = [applied_fields(stage) for stage in written_stages(order, state)]
    for path in applied_fields(order.whole):
        value = view.fields.get(path)
        is_ours = any(path in stage and same_value(path, value, stage[path]) for stage in stages)
        if is_ours and not same_value(path, value, before.get(path)) and _managed(view, path):
            owned.append(path)
    return tuple(owned)


def taken_over(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> tuple[str, ...]:
    """Returns the paths that somebody else changed since the snapshot.

    Until a write is acknowledged a path may hold the old value or the new one. Afterwards only the new one
    is ours: the old one means that somebody put it back.
    """
    if state.snapshot is None:
        return ()
    before = state.snapshot.fields
    stages = [applied_fields(stage) for stage in written_stages(order, state)]
    overridden = []
    for path in applied_fields(order.whole):
        value = view.fields.get(path)
        if path in state.written_paths:
            # The stage before may stand where the present one was not acknowledged yet.
            allowed = stages[-1:] if state.template_written else stages[-2:]
            unchanged = any(same_value(path, value, stage.get(path)) for stage in allowed)
            if not unchanged or not _managed(view, path):
                overridden.append(path)
        elif not any(same_value(path, value, known.get(path)) for known in (before, *stages)):
            overridden.append(path)
    return tuple(overridden)


def foreign(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> tuple[str, ...]:
    """Returns the paths whose value is neither that of before nor ours: going back leaves them alone."""
    if state.snapshot is None:
        return ()
    before = state.snapshot.fields
    mine = ours(view, order, state)
    return tuple(
        path
        for path in applied_fields(order.whole)
        if path not in mine and not same_value(path, view.fields.get(path), before.get(path))
    )


def _managed(view: WorkloadView, path: str) -> bool:
    managers = view.field_managers.get(path)
    # A removed field has no manager, and what is not known is not held against anybody.
    return managers is None or FIELD_MANAGER in managers


def has_sizes(sizes: Mapping[str, ContainerSize], desired: Mapping[str, ContainerSize]) -> bool:
    """Returns whether containers have every quantity that is wanted of them."""
    return all(
        same_value("containers.", sizes.get(name, ContainerSize()).quantities().get(quantity), value)
        for name, size in desired.items()
        for quantity, value in size.quantities().items()
    )


def pods_taken_over(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> tuple[str, ...]:
    """Returns the resized pods whose sizes somebody else has changed since."""
    if state.snapshot is None:
        return ()
    stages = [stage.containers for stage in written_stages(order, state)]
    return tuple(
        pod.name
        for pod in _resized_pods(view, state)
        if not any(has_sizes(pod.wanted, known) for known in (original_sizes(pod, order, state), *stages))
    )


def pods_to_take_back(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> tuple[PodView, ...]:
    """Returns the resized pods that still have sizes of ours."""
    stages = [stage.containers for stage in written_stages(order, state)]
    return tuple(
        pod
        for pod in _changed_pods(view, order, state)
        if not has_sizes(pod.wanted, original_sizes(pod, order, state))
        and any(has_sizes(pod.wanted, stage) for stage in stages)
    )


def _resized_pods(view: WorkloadView, state: ApplyState) -> Iterable[PodView]:
    for name in state.resized:
        pod, baseline = view.pod(name), state.baselines.get(name)
        if pod is not None and (baseline is None or baseline.uid == pod.uid) and not pod.deleting:
            yield pod


def _changed_pods(view: WorkloadView, order: ApplyOrder, state: ApplyState) -> Iterable[PodView]:
    """Gives the pods that may have sizes of ours: of a transient change those too that came later."""
    if order.whole.durability == "transient":
        return tuple(pod for pod in view.pods if not pod.deleting)
    return _resized_pods(view, state)


def original_sizes(pod: PodView, order: ApplyOrder, state: ApplyState) -> dict[str, ContainerSize]:
    """Returns what a pod had of the sizes that the change sets, before the change.

    A pod that came later has the sizes of the template of then.
    """
    snapshot = state.snapshot
    assert snapshot is not None, "pods are resized after the snapshot"
    named = order.whole.containers
    known = snapshot.pods.get(pod.name)
    if known is not None:
        return {name: size for name, size in known.items() if name in named}
    return {name: template_size(snapshot.fields, name) for name in named}


def template_size(fields: Mapping[str, Any], container: str) -> ContainerSize:
    """Returns the size of a container by a workload's fields."""
    prefix = f"containers.{container}."
    values = {path.removeprefix(prefix): value for path, value in fields.items() if path.startswith(prefix)}
    return ContainerSize(**{name: value for name, value in values.items() if value is not None})
