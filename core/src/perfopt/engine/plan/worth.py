"""What a recommendation is worth against staying as it is, and what is not worth its change. Pure."""

from collections.abc import Sequence

from perfopt.domain.fields import (
    BASIS,
    HPA_CPU,
    HPA_MEMORY,
    HPA_MIN,
    REPLICAS,
    SCHEDULE,
    Path,
    all_fields,
    diff,
    is_cpu,
    is_cpu_request,
    more_is_safer,
)
from perfopt.domain.recommendation import Evidence, ExpectedValue
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.plan.bids import BY_VALUE, Bid, groups
from perfopt.engine.plan.moments import Candidate, Moment, recommended_cost
from perfopt.engine.plan.reconcile import Agreed
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Prior

_DIGITS = 4


def expected_value(
    now: float | None,
    then: float | None,
    evidence: Evidence,
    stayed: Sequence[bool | None],
    prior: Prior,
    context: AnalysisContext,
) -> ExpectedValue | None:
    """Returns what a change is worth a month against staying as it is; None where costs are unknown.

    Args:
        now: monthly cost of the current state.
        then: monthly cost of the recommended one.
        evidence: of the change.
        stayed: whether staying would have done, one a window of the evidence.
        prior: of the change.
        context: has the class of the service, and what a shortage costs it.
    """
    if now is None or then is None:
        return None
    sure, detail = confidence(evidence, prior, context.validity)
    breach = context.under_provisioning_penalty * now
    weight = detail.n_effective / (detail.prior_strength + detail.n_effective)
    saving, risk = (now - then) * sure, breach * weight * _kept_more_often(evidence, stayed)
    return ExpectedValue(
        saving=round(saving, _DIGITS), risk=round(risk, _DIGITS), total=round(saving + risk, _DIGITS)
    )


def _kept_more_often(evidence: Evidence, stayed: Sequence[bool | None]) -> float:
    """Returns in how much more of the past windows a change kept its word than staying would have.

    Both records are over the same windows and are shrunk alike, so only their difference counts: a prior
    says how sure a strategy is, not that staying was worse.
    """
    pairs = [
        (window.accurate, before)
        for window, before in zip(evidence.windows, stayed, strict=True)
        if window.accurate is not None and before is not None
    ]
    return sum(kept - before for kept, before in pairs) / len(pairs) if pairs else 0.0


def not_worth_it(
    candidate: Candidate, bid: Bid, now: Moment, stayed: Sequence[bool | None]
) -> ExpectedValue | None:
    """Returns the value of a proposal that is worth less than staying as it is; None of any other.

    What an objective needs and what adds capacity is always worth it: a shortage costs more than capacity,
    and that staying held in a few past windows says little against what a strategy sees coming.
    """
    target = bid.proposal.target
    if bid.for_slo or adds_capacity(now.state, target):
        return None
    book, context = now.context.price_book, now.context
    costs = book.monthly_cost(now.state), recommended_cost(bid.proposal, context)
    prior = bid.proposal.prior or candidate.prior
    value = expected_value(*costs, candidate.evidence, stayed, prior, context)
    return value if value is not None and value.total < 0 else None


def spare(now: Moment, agreed: Agreed) -> list[Bid]:
    """Returns the bids of nothing but larger CPU requests, where another in the plan adds replicas.

    Never the other way round: replicas follow the load, a larger request does not.
    """
    inside = [bid for bid in now.bids if agreed.owned_by(bid)]
    added = {bid.key: additions(now.state, bid.proposal.target) for bid in inside}
    if not any(path[0] != "container" for paths in added.values() for path in paths):
        return []
    return [
        bid
        for bid in inside
        if any(is_cpu_request(path) for path in added[bid.key])
        and all(is_cpu(path) for path in diff(now.state, bid.proposal.target).keys() - {BASIS})
        and all(group.rank <= BY_VALUE for group in groups(bid, now.state))
    ]


def adds_capacity(current: WorkloadState, target: WorkloadState) -> bool:
    """Tells whether a target gives a workload more of anything: sizes, replicas, room below a threshold."""
    return bool(additions(current, target))


def additions(current: WorkloadState, target: WorkloadState) -> list[Path]:
    """Returns the fields in which a target gives a workload more."""
    before, after = all_fields(current), all_fields(target)
    found = [path for path in diff(current, target) if _more(path, before.get(path), after.get(path))]
    planned = _scheduled(after) > max(_scheduled(before), after.get(HPA_MIN) or after.get(REPLICAS) or 0)
    return [*found, SCHEDULE] if planned else found


def _more(path: Path, before: object, after: object) -> bool:
    if path in (HPA_CPU, HPA_MEMORY):  # a lower threshold keeps more replicas
        before, after = after, before
    elif not more_is_safer(path):
        return False
    if after is None:  # a limit taken away
        return before is not None
    return isinstance(before, int | float) and isinstance(after, int | float) and after > before


def _scheduled(values: dict[Path, object]) -> int:
    entries = values.get(SCHEDULE)
    if not isinstance(entries, list):
        return 0
    return max((int(entry["min_replicas"]) for entry in entries), default=0)
