"""Which pods are changed first and next, and whether they run with the new size. Pure."""

from collections.abc import Iterable, Sequence

from perfopt_api.apply.cluster import PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.fields import has_sizes
from perfopt_api.apply.state import ApplyOrder
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.sizes import lowered_memory

_MESSAGES = {
    "deferred": "its node has no room yet",
    "error": "the kubelet failed to resize it",
    "in_progress": "it is still being resized",
    "none": "its containers do not run with the new size yet",
}


def can_resize_live(view: WorkloadView, order: ApplyOrder, change: WorkloadChange) -> bool:
    """Returns whether running pods may be resized to a change: not where a heap would outgrow its limit."""
    lowered = lowered_memory(view.fields, change.fields())
    return change.resizable and not set(lowered) & set(order.heap_containers)


def choose_canary(
    view: WorkloadView, order: ApplyOrder, change: WorkloadChange, settings: PolicySettings
) -> Sequence[PodView]:
    """Returns the pods that get a change first; none where no pod would be left to compare them with."""
    if order.mode != "canary" or not can_resize_live(view, order, change):
        return ()
    newest = view.rollout.revision
    pods = sorted(
        (pod for pod in view.pods if pod.ready and not pod.deleting and pod.revision == newest),
        key=lambda pod: pod.name,
    )
    count = max(1, int(settings.canary_share * len(pods)))
    return pods[:count] if len(pods) > count else ()


def next_batch(view: WorkloadView, change: WorkloadChange, settings: PolicySettings) -> Sequence[PodView]:
    """Returns the pods that are resized next: a canary's share of all, none when all have the size."""
    pods = [pod for pod in view.pods if not pod.deleting]
    left = [pod for pod in pods if not has_sizes(pod.wanted, change.containers) or not has_size(pod, change)]
    count = max(1, int(settings.canary_share * len(pods)))
    return sorted(left, key=lambda pod: pod.name)[:count]


def has_size(pod: PodView, change: WorkloadChange) -> bool:
    """Returns whether a pod runs with a change's sizes, by its status and not by what it was asked for."""
    return has_sizes(pod.actuated, change.containers) and pod.resize.state == "none"


def restarts(pod: PodView, change: WorkloadChange) -> bool:
    """Returns whether the resize of a pod restarts one of its containers."""
    for name, size in change.containers.items():
        now = pod.wanted.get(name)
        changed = {
            quantity.split("_")[0]
            for quantity, value in size.quantities().items()
            if now is None or not has_sizes({name: now}, {name: type(size)(**{quantity: value})})
        }
        if changed & set(pod.restarting.get(name, ())):
            return True
    return False


def resize_problem(pods: Iterable[PodView], change: WorkloadChange) -> tuple[str, str] | None:
    """Returns code and sentence of the first pod that does not run with the new size; None when all do."""
    for pod in pods:
        if not has_size(pod, change):
            state = pod.resize.state
            why = pod.resize.message or _MESSAGES.get(state, state)
            return f"resize_{state}" if state != "none" else "resize_pending", f"{pod.name}: {why}."
    return None
