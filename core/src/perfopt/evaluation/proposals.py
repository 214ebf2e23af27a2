"""What a recommendation is scored by: the proposal that it was printed from."""

import msgspec

from perfopt.domain.fields import parse_state
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.plugin.strategy import Claim, Proposal


def proposal_of(made: OptimizationRecommendation, *, with_claim: bool = True) -> Proposal:
    """Returns the proposal of a recommendation, with quantities as Kubernetes stores them.

    Args:
        made: the recommendation.
        with_claim: keep the expected latency and saving. They are of all changes, so of a part that a plan
            takes only some fields of they are not kept.
    """
    return Proposal(
        optimization_type=made.optimization_type,
        target=parse_state(made.recommended_state),
        description=made.description,
        claim=msgspec.convert(made.claim, Claim) if with_claim else Claim(),
        no_change_needed=made.no_change_needed,
    )
