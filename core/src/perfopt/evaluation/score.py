"""Scores a proposal of any type on the window after it: sizes, replicas, expected latency and saving."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import QUANTITIES, Path, container_path
from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.resources import (
    WindowScore,
    changed_quantities,
    measures,
    score_resources,
    unscored,
)
from perfopt.evaluation.scaling import ReplicaSimulation, recorded_replicas, rescaled, score_scaling
from perfopt.metrics.latency import realised_latency
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.strategy import Claim, Proposal

__all__ = ["WindowScore", "score", "score_resources"]

DEFAULT_QUANTILE = 0.99
MAX_INTERVAL = 0.5  # of the prediction: ± 25 %
SAVING_TOLERANCE_POINTS = 10.0
_MEMORY = tuple(name for name in QUANTITIES if name.startswith("memory"))
_NOTHING = "the window measures nothing that is changed or claimed"


def score(
    proposal: Proposal, window: WorkloadSnapshot, simulation: ReplicaSimulation | None = None
) -> WindowScore:
    """Scores a proposal on data that was not seen when it was made.

    RESOURCE: CPU and memory per pod, all that it sets. SCALING: total demand against replicas × request.
    COST: CPU and memory of what it changes, under the load that its replicas would have had. LATENCY and
    TUNING: CPU and memory of what they change. All: the latency and the saving that they claim.

    Args:
        proposal: made at the start of the window.
        window: the data that followed, with the workload's state as it was known at its start.
        simulation: of replicas on the window, where others are scored on it too.

    Returns:
        Not scored, with a reason, where the proposal changes nothing that the window measures and claims
        nothing, where it measures too little, or where a claim can't be checked.
    """
    simulation = simulation or ReplicaSimulation(window)
    rules = _SCORERS[proposal.optimization_type](proposal, simulation)
    if rules is not None and not rules.scored:
        return rules
    checked = _with_latency(rules, proposal.claim, window)
    checked = _with_saving(checked, proposal.claim, window, lambda: simulation.planned(proposal.target))
    if checked is None:
        return unscored(_NOTHING)
    return checked


def score_together(
    parts: Sequence[Proposal],
    merged: WorkloadState,
    window: WorkloadSnapshot,
    quantities: Collection[Path] = (),
    simulation: ReplicaSimulation | None = None,
) -> WindowScore:
    """Scores the state that several proposals make together: all that any of them sets or claims must hold.

    Args:
        parts: the proposals, for what they set and claim.
        merged: the state, whatever of them went into it.
        window: the data that followed, with the workload's state as it was known at its start.
        quantities: that are scored although the state leaves them as they were.
        simulation: of replicas on the window, where others are scored on it too.
    """
    kinds = {part.optimization_type for part in parts}
    cost = [part for part in parts if part.optimization_type is OptimizationType.COST_OPTIMIZATION]
    whole = OptimizationType.RESOURCE_OPTIMIZATION in kinds or any(part.no_change_needed for part in cost)
    state = Proposal(optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=merged, description="")
    planned = (simulation or ReplicaSimulation(window)).planned(merged)
    rules = _score_under_own_load(merged, window, planned, whole=whole, quantities=quantities)
    if OptimizationType.SCALING_OPTIMIZATION in kinds and (rules is None or rules.scored):
        rules = _both(rules, score_scaling(state, window, planned))
    if rules is not None and not rules.scored:
        return rules
    for part in parts:
        rules = _with_latency(rules, part.claim, window)
        if rules is not None and not rules.scored:
            return rules
        rules = _with_saving(rules, part.claim, window, lambda: planned)
    return rules if rules is not None else unscored(_NOTHING)


def score_staying(
    proposal: Proposal, window: WorkloadSnapshot, simulation: ReplicaSimulation | None = None
) -> bool | None:
    """Tells whether the state of a window's start would have done where a proposal wants another.

    What is scored is what the proposal sets, at the values that it changes; of a proposal of type LATENCY the
    objective for latency too. None where nothing of it was measured.
    """
    current, kind = window.workload.state, proposal.optimization_type
    if kind in (OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.SCALING_OPTIMIZATION):
        window_score = _SCORERS[kind](
            msgspec.structs.replace(proposal, target=current), simulation or ReplicaSimulation(window)
        )
    else:
        changed = changed_quantities(current, proposal.target)
        window_score = score_resources(changed, window) if changed and measures(changed, window) else None
    safe = window_score.accurate if window_score is not None and window_score.scored else None
    slo = window.workload.slo
    if slo is None or kind is not OptimizationType.LATENCY_OPTIMIZATION:
        return safe
    realised = realised_latency(window.service, slo.quantile)
    return safe if realised is None else realised <= slo.latency_ms and safe is not False


def _score_all(proposal: Proposal, simulation: ReplicaSimulation) -> WindowScore:
    return score_resources(proposal.target, simulation.window)


def _score_scaling(proposal: Proposal, simulation: ReplicaSimulation) -> WindowScore:
    return score_scaling(proposal, simulation.window, simulation.planned(proposal.target))


def _score_changes(proposal: Proposal, simulation: ReplicaSimulation) -> WindowScore | None:
    target = proposal.target
    return _score_under_own_load(target, simulation.window, simulation.planned(target), whole=False)


def _score_under_own_load(
    target: WorkloadState,
    window: WorkloadSnapshot,
    planned: Array | None,
    *,
    whole: bool,
    quantities: Collection[Path] = (),
) -> WindowScore | None:
    """Scores per pod what changes, and what must carry another load because replicas change.

    Args:
        target: the state.
        window: the data that followed.
        planned: replicas that the state would have run.
        whole: score all that the target sets, whatever of it changes.
        quantities: score these, whether they change or not.
    """
    ran = recorded_replicas(window)
    always = set(quantities)
    if ran is not None and planned is not None and not np.array_equal(ran, planned):
        # Memory is taken not to shrink with the load: only fewer replicas can make it too small.
        names = ("cpu_request_cores", *(_MEMORY if bool((planned < ran).any()) else ()))
        always |= {container_path(c.name, name) for c in target.containers for name in names}
        window = rescaled(window, planned)
    scored = target if whole else changed_quantities(target, window.workload.state, always)
    if scored is None or not measures(scored, window):
        return None
    return score_resources(scored, window)


def _score_cost(proposal: Proposal, simulation: ReplicaSimulation) -> WindowScore | None:
    # A state that stays as it is because nothing cheaper would do has been recommended, and is scored so.
    scorer = _score_all if proposal.no_change_needed else _score_changes
    return scorer(proposal, simulation)


_SCORERS: dict[OptimizationType, Callable[[Proposal, ReplicaSimulation], WindowScore | None]] = {
    OptimizationType.RESOURCE_OPTIMIZATION: _score_all,
    OptimizationType.SCALING_OPTIMIZATION: _score_scaling,
    OptimizationType.COST_OPTIMIZATION: _score_cost,
    OptimizationType.LATENCY_OPTIMIZATION: _score_changes,
    OptimizationType.PERFORMANCE_TUNING: _score_changes,
}


def _both(one: WindowScore | None, other: WindowScore | None) -> WindowScore | None:
    """Joins two scores of one state: waste is that of the wider one."""
    if one is None or other is None:
        return one if other is None else other
    wide = one if one.memory_safe is not None else other
    return replace(
        wide,
        accurate=one.accurate and other.accurate,
        cpu_safe=_all_of(one.cpu_safe, other.cpu_safe),
        memory_safe=_all_of(one.memory_safe, other.memory_safe),
    )


def _all_of(*safe: bool | None) -> bool | None:
    known = [one for one in safe if one is not None]
    return all(known) if known else None


def _with_latency(rules: WindowScore | None, claim: Claim, window: WorkloadSnapshot) -> WindowScore | None:
    """Adds the check of a latency claim: realised within the interval of the unchanged state."""
    if claim.latency_ms is None and claim.latency_now_interval_ms is None:
        return rules
    if claim.latency_now_interval_ms is None:
        return unscored("latency is claimed without an interval for the unchanged state, the one history has")
    slo = window.workload.slo
    realised = realised_latency(window.service, slo.quantile if slo is not None else DEFAULT_QUANTILE)
    if realised is None:
        return unscored("latency is claimed and the window measures it in less than 50% of its steps")
    low, high = claim.latency_now_interval_ms
    predicted = claim.latency_now_ms if claim.latency_now_ms is not None else (low + high) / 2
    met = low <= realised <= high and high - low <= MAX_INTERVAL * predicted
    return replace(_with_claim(rules, met), realised_latency_ms=round(realised, 3))


def _with_saving(
    checked: WindowScore | None, claim: Claim, window: WorkloadSnapshot, plan: Callable[[], Array | None]
) -> WindowScore | None:
    """Adds the check of a saving: replica-hours planned against those that ran, at most 10 points less."""
    claimed = claim.saving_percent
    if claimed is None or (checked is not None and not checked.scored):
        return checked
    ran, planned = recorded_replicas(window), plan()
    if ran is None or planned is None:
        return unscored("a saving is claimed and how many replicas ran is not known")
    realised = 100 * (1 - float(planned.sum() / ran.sum()))
    met = realised >= claimed - SAVING_TOLERANCE_POINTS
    return replace(_with_claim(checked, met), realised_saving_percent=round(realised, 3))


def _with_claim(score: WindowScore | None, met: bool) -> WindowScore:
    if score is None:
        return WindowScore(scored=True, accurate=met, claim_met=met)
    both = met and score.claim_met is not False
    return replace(score, accurate=score.accurate and met, claim_met=both)
