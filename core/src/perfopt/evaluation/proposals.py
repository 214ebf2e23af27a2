"""What a recommendation is scored by: the proposal that it was printed from."""

import msgspec

from perfopt.domain.fields import parse_state
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.plugin.strategy import Claim, Proposal


def proposal_of(recommendation: OptimizationRecommendation, *, with_claim: bool = True) -> Proposal:
    """Returns the proposal of a recommendation, with quantities as Kubernetes stores them.

    Args:
        recommendation: the recommendation.
        with_claim: keep the expected latency and saving. They are of all changes, so of a part that a plan
            takes only some fields of they are not kept.
    """
    return Proposal(
        optimization_type=recommendation.optimization_type,
        target=parse_state(recommendation.recommended_state),
        description=recommendation.description,
        claim=msgspec.convert(recommendation.claim, Claim) if with_claim else Claim(),
        no_change_needed=recommendation.no_change_needed,
    )
