"""Changes that bring back a workload of which no pod serves. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from perfopt_api.apply.cluster import ContainerSize, PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.state import ApplyOrder, ApplyState
from perfopt_api.policy.sizes import directions_of
from perfopt_api.store.apply_port import AppliedWorkload

_DOWN = frozenset({"CrashLoopBackOff"})
_BOUNDS = ("min_replicas", "max_replicas")


def unready_pods(view: WorkloadView) -> tuple[PodView, ...]:
    """Returns the pods that do not serve where none does; nothing where one does, or where there is none."""
    return () if any(pod.ready for pod in view.pods) else view.pods


def crashed(pod: PodView) -> bool:
    """Returns whether a pod's status says that it is killed for its memory, or crashes again and again."""
    return bool(pod.oom_kills) or bool(_DOWN & set(pod.waiting.values()))


def raising(order: ApplyOrder, before: Mapping[str, Any]) -> ApplyOrder | None:
    """Returns what of an order raises: all that is applied to rescue, as a decrease never does.

    None where nothing raises, and where the whole is to be committed to Git.

    Args:
        order: what was asked for.
        before: by path, what the workload has.
    """
    after = order.whole.fields()
    lowered = {path for path, value in after.items() if "down" in directions_of(before, {path: value})}
    if "up" not in directions_of(before, after) or (lowered and order.git is not None):
        return None
    if not lowered:
        return order
    return replace(order, stages=tuple(_without(stage, lowered) for stage in order.stages))


def lowered_by(order: ApplyOrder, before: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the paths that a rescue leaves as they are."""
    kept = raising(order, before)
    named = {} if kept is None else kept.whole.fields()
    return tuple(path for path in order.whole.fields() if path not in named)


def order_in(order: ApplyOrder, state: ApplyState) -> ApplyOrder:
    """Returns what is done of an order by a job in this state: of a rescue, what raises."""
    if not state.rescue or state.snapshot is None:
        return order
    return raising(order, state.snapshot.fields) or order


def applied_order(applied: AppliedWorkload) -> ApplyOrder:
    """Returns what was done of the order of a change that is in force."""
    order, state = msgspec.convert(applied.order, ApplyOrder), msgspec.convert(applied.state, ApplyState)
    return order_in(order, state)


def _without(change: WorkloadChange, paths: set[str]) -> WorkloadChange:
    containers = {
        name: ContainerSize(
            **{
                quantity: value
                for quantity, value in size.quantities().items()
                if f"containers.{name}.{quantity}" not in paths
            }
        )
        for name, size in change.containers.items()
    }
    scaler = change.autoscaler
    lowered = {name: None for name in _BOUNDS if f"hpa.{name}" in paths}
    return replace(
        change,
        containers={name: size for name, size in containers.items() if size.quantities()},
        removed=tuple(path for path in change.removed if path not in paths),
        replicas=None if "replicas" in paths else change.replicas,
        autoscaler=replace(scaler, **lowered) if scaler is not None and lowered else scaler,
    )
