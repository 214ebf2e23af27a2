"""How probable it is that what a recommendation sets is enough: of each size that is scored, together."""

from perfopt.plugin import Prior, Proposal, WorkloadState
from perfopt_cost.demand import ContainerDemand

_RESOURCES = {
    "cpu": ("cpu_request_cores",),
    "memory": ("memory_request_bytes", "memory_limit_bytes"),
}


def stated_prior(
    prior: Prior, state: WorkloadState, proposal: Proposal, needs: list[ContainerDemand]
) -> Prior:
    """Returns the prior of one recommendation; the given one where the model says nothing of sizes.

    Args:
        prior: of recommendations of this strategy in general.
        state: current.
        proposal: the recommendation.
        needs: of the containers.
    """
    probability, parts = 1.0, []
    for need in needs:
        for resource, fields in _RESOURCES.items():
            bound = need.cpu if resource == "cpu" else need.memory
            if bound is None or not _scored(state, proposal, need.name, fields):
                continue
            if bound.confidence is None:
                return prior
            size = _size_at_present_load(proposal.target, state, need, resource, fields)
            if size is None:
                continue
            each = bound.confidence.probability(size)
            probability *= each
            parts.append(f"{need.name} {resource} {each:.2f}")
    if not parts:
        return prior
    source = f"by history, load and size of the cut: {', '.join(parts)}; {prior.source}"
    return Prior(mean=round(probability, 4), strength=prior.strength, source=source)


def _scored(state: WorkloadState, proposal: Proposal, name: str, fields: tuple[str, ...]) -> bool:
    """Tells whether a container's sizes are scored: they change, its load does, or all stay recommended."""
    if proposal.no_change_needed or _load(proposal.target, state) != 1.0:
        return True
    old, new = state.container(name), proposal.target.container(name)
    return old is None or new is None or any(getattr(old, one) != getattr(new, one) for one in fields)


def _load(target: WorkloadState, state: WorkloadState) -> float:
    """Returns the load of a replica when the fewest run, relative to now."""
    running = max(state.replicas or 1, 1)
    counts = [entry["min_replicas"] for entry in target.extra.get("schedule") or ()]
    fewest = min(counts, default=target.replicas or running)
    if target.hpa is not None and target.hpa != state.hpa:
        fewest = min(fewest, target.hpa.min_replicas)
    return running / max(fewest, 1)


def _size_at_present_load(
    target: WorkloadState, state: WorkloadState, need: ContainerDemand, resource: str, fields: tuple[str, ...]
) -> float | None:
    """Returns the size that would be as safe if as many replicas ran as now; None where it is unset."""
    container = target.container(need.name)
    sizes = [getattr(container, field) for field in fields]
    known = [size for size in sizes if size is not None]
    if not known:
        return None
    size = float(min(known))
    if resource == "cpu":  # the schedule has fewer replicas when less is needed of them
        return size * max(target.replicas or 1, 1) / max(state.replicas or 1, 1)
    load = max(_load(target, state), 1.0)
    return need.memory_least + max(size - need.memory_least, 0.0) / load
