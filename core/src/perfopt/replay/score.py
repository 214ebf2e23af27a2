"""Scores a proposal of any type on the window after it: DESIGN.md section 5, by what the type promises."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from perfopt.domain.enums import OptimizationType
from perfopt.metrics.latency import realised_latency
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.replay.changes import MEMORY, changed_quantities
from perfopt.replay.resources import WindowScore, measures, score_resources, unscored
from perfopt.replay.scaling import planned_replicas, recorded_replicas, rescaled, score_scaling

__all__ = ["WindowScore", "score", "score_resources"]

DEFAULT_QUANTILE = 0.99
WIDEST_INTERVAL = 0.5  # of the prediction: ± 25 %
SAVING_TOLERANCE_POINTS = 10.0


def score(proposal: Proposal, window: WorkloadSnapshot) -> WindowScore:
    """Scores a proposal on data that was not seen when it was made.

    RESOURCE: rules 1 and 2 per pod on all that it sets. SCALING: total demand against replicas × request.
    COST: rules 1 and 2 on what it changes, under the load that its replicas would have had. LATENCY and
    TUNING: rules 1 and 2 on what they change. All: rule 3 on what they claim.

    Args:
        proposal: made at the start of the window.
        window: the data that followed, with the workload's state as it was known at its start.

    Returns:
        Not scored, with a reason, where the proposal changes nothing that the window measures and claims
        nothing, where it measures too little, or where a claim can't be checked.
    """
    score_type = _SCORERS[proposal.optimization_type]
    rules = score_type(proposal, window)
    if rules is not None and not rules.scored:
        return rules
    checked = _with_latency(rules, proposal.claim, window)
    checked = _with_saving(checked, proposal, window)
    if checked is None:
        return unscored("nothing that the window measures is changed, and nothing is claimed")
    return checked


def _score_all(proposal: Proposal, window: WorkloadSnapshot) -> WindowScore:
    return score_resources(proposal.target, window)


def _score_scaling(proposal: Proposal, window: WorkloadSnapshot) -> WindowScore:
    return score_scaling(proposal, window)


def _score_changes(proposal: Proposal, window: WorkloadSnapshot) -> WindowScore | None:
    """Scores what changes, per pod, and what must carry another load because replicas change."""
    ran, planned = recorded_replicas(window), planned_replicas(proposal.target, window)
    always: frozenset[str] = frozenset()
    if ran is not None and planned is not None and not np.array_equal(ran, planned):
        # Memory is taken not to shrink with the load: only fewer replicas can make it too small.
        always = frozenset({"cpu_request_cores"}) | (MEMORY if bool((planned < ran).any()) else frozenset())
        window = rescaled(window, planned)
    changed = changed_quantities(proposal.target, window.workload.state, always)
    if changed is None or not measures(changed, window):
        return None
    return score_resources(changed, window)


def _score_cost(proposal: Proposal, window: WorkloadSnapshot) -> WindowScore | None:
    # A state that stays as it is because nothing cheaper would do has been recommended, and is scored so.
    return _score_all(proposal, window) if proposal.already_right else _score_changes(proposal, window)


_SCORERS: dict[OptimizationType, Callable[[Proposal, WorkloadSnapshot], WindowScore | None]] = {
    OptimizationType.RESOURCE_OPTIMIZATION: _score_all,
    OptimizationType.SCALING_OPTIMIZATION: _score_scaling,
    OptimizationType.COST_OPTIMIZATION: _score_cost,
    OptimizationType.LATENCY_OPTIMIZATION: _score_changes,
    OptimizationType.PERFORMANCE_TUNING: _score_changes,
}


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
    kept = low <= realised <= high and high - low <= WIDEST_INTERVAL * predicted
    return replace(_and_kept(rules, kept), realised_latency_ms=round(realised, 3))


def _with_saving(
    checked: WindowScore | None, proposal: Proposal, window: WorkloadSnapshot
) -> WindowScore | None:
    """Adds the check of a saving: replica-hours planned against those that ran, at most 10 points less."""
    claimed = proposal.claim.saving_percent
    if claimed is None or (checked is not None and not checked.scored):
        return checked
    ran, planned = recorded_replicas(window), planned_replicas(proposal.target, window)
    if ran is None or planned is None:
        return unscored("a saving is claimed and how many replicas ran is not known")
    realised = 100 * (1 - float(planned.sum() / ran.sum()))
    kept = realised >= claimed - SAVING_TOLERANCE_POINTS
    return replace(_and_kept(checked, kept), realised_saving_percent=round(realised, 3))


def _and_kept(score: WindowScore | None, kept: bool) -> WindowScore:
    if score is None:
        return WindowScore(scored=True, accurate=kept, claim_kept=kept)
    both = kept and score.claim_kept is not False
    return replace(score, accurate=score.accurate and kept, claim_kept=both)
