"""The sentences of a plan: what to do, in which order, and why something is not in it."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import Values, is_knob, label, print_value
from perfopt.domain.recommendation import Conflict, ExpectedValue
from perfopt.domain.workload import Slo
from perfopt.engine.plan.bids import BY_VALUE, FOR_SLO, JOINT, MEMORY_SAFETY, SIZE_ALONE, Bid
from perfopt.engine.plan.reconcile import BREACHES_TOGETHER, ENOUGH_WITHOUT, GOES_TOGETHER, Loss

_MAX_CHANGES = 6
_LONGEST_VALUE = 40


def conflict(loss: Loss, values: Values, slo: Slo | None, currency: str) -> Conflict:
    """Returns a lost value as users see it.

    Args:
        loss: what was lost.
        values: the plan's, by field.
        slo: of the service.
        currency: of values.
    """
    return Conflict(
        field=label(loss.path),
        code=loss.code,
        wanted=print_value(loss.path, loss.wanted),
        kept=print_value(loss.path, values.get(loss.path)),
        lost_by=loss.lost_by.key,
        lost_by_type=loss.lost_by.proposal.optimization_type,
        won_by=None if loss.won_by is None else loss.won_by.key,
        won_by_type=None if loss.won_by is None else loss.won_by.proposal.optimization_type,
        reason=_why(loss, slo, currency),
    )


def _why(loss: Loss, slo: Slo | None, currency: str) -> str:
    if loss.won_by is None:
        return "Staying as it is is worth more." if loss.value is None else _staying(loss.value, currency)
    winner = loss.won_by.key
    if loss.code == GOES_TOGETHER and is_knob(loss.path) and loss.contested[0] == "container":
        return (
            f"It was computed for another {label(loss.contested)} than {winner} sets; analyse again once that"
            " is in force."
        )
    if loss.code == ENOUGH_WITHOUT:
        return (
            f"What {winner} adds is enough: in replays the words of both were kept as often without this, and"
            " it costs less."
        )
    if loss.lost_rank == SIZE_ALONE and loss.rank == BY_VALUE and loss.code != BREACHES_TOGETHER:
        return f"Sizes by themselves are set by {winner}; nothing but them would be cheaper."
    if loss.code == GOES_TOGETHER:
        return f"It goes together with {label(loss.contested)}, which {winner} sets otherwise."
    if loss.code == BREACHES_TOGETHER:
        return f"With what {winner} changes it would have breached in replays where each alone did not."
    if loss.rank == FOR_SLO and slo is not None:
        return (
            f"{winner} needs it to meet the objective of {slo.latency_ms:g} ms at the"
            f" {slo.quantile:.4g} quantile."
        )
    if loss.rank == MEMORY_SAFETY:
        return f"{winner} needs as much memory to be safe, and less is an OOM kill in waiting."
    if loss.rank == JOINT:
        return (
            f"{winner} sets the request and the autoscaler's target together, so that replicas do not grow."
        )
    return (
        f"{winner} is worth more by saving, confidence and risk of breach:"
        f" {_value(loss.won_by, currency)} against {_value(loss.lost_by, currency)}."
    )


def _staying(value: ExpectedValue, currency: str) -> str:
    """Returns why a change is not worth it, in money a month at its confidence."""
    money = f"it {'costs' if value.saving < 0 else 'saves'} {abs(value.saving):.2f}"
    if value.risk:
        often, costs = ("more", "costs") if value.risk < 0 else ("less", "saves")
        money += (
            f", and in replays it broke its word {often} often than staying would, which {costs}"
            f" {abs(value.risk):.2f}"
        )
    return f"By itself it is worth {-value.total:.2f} {currency} a month less than no change: {money}."


def _value(bid: Bid, currency: str) -> str:
    return f"{bid.value:.2f} {currency} a month at confidence {bid.confidence:.2f}"


def left_out(conflicts: Sequence[Conflict]) -> str:
    """Returns what to say of a recommendation after its own sentence: what of it is not taken, and why."""
    parts = [
        f"{one.field} is {_short(one.kept)} instead of {_short(one.wanted)}"
        for one in conflicts[:_MAX_CHANGES]
    ]
    more = len(conflicts) - len(parts)
    listed = ", ".join(parts) + (f" and {more} more" if more else "")
    return f"In the plan {listed}: {conflicts[0].reason}"


def declined(conflicts: Sequence[Conflict]) -> str:
    """Returns why a recommendation of which nothing is taken is not made."""
    wanted = ", ".join(f"{one.field} {_short(one.wanted)}" for one in conflicts[:_MAX_CHANGES])
    return f"It wanted {wanted}, and none of it is in the plan. {conflicts[0].reason}"


def plan(changes: Values, before: Values, validity: timedelta, parts: int) -> str:
    """Returns the one sentence of a plan."""
    moves = [
        f"{label(path)}{_from(print_value(path, before.get(path)))} to {_short(print_value(path, value))}"
        for path, value in list(changes.items())[:_MAX_CHANGES]
    ]
    more = len(changes) - len(moves)
    listed = ", ".join(moves) + (f" and {more} more" if more else "")
    source = "one recommendation" if parts == 1 else f"{parts} recommendations together"
    return f"Set {listed}, for the next {_duration(validity)}: {source}, in the order of the steps."


def _from(value: object) -> str:
    return "" if value is None else f" from {_short(value)}"


def _short(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, list | dict):
        return f"{len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _duration(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    number, unit = (hours / 24, "day") if hours >= 48 else (hours, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"


def step(
    kind: OptimizationType, *, for_slo: bool, dearer: bool | None, others: Collection[bool | None]
) -> str:
    """Returns why a step stands where it does.

    Args:
        kind: of the recommendation.
        for_slo: the objective needs it.
        dearer: it adds capacity (True), takes some away (False), or neither (None).
        others: the same of the other steps.
    """
    if not others:
        return "It is the only step."
    if for_slo:
        return "The declared objective needs it, so it comes before anything else."
    if dearer:
        if False in others:
            return "It adds capacity, so it comes before what takes some away."
        return "It adds capacity, which is safe at any time."
    if dearer is None:
        return "It neither adds nor takes away what is paid for, so it stands in the middle."
    if kind is OptimizationType.SCALING_OPTIMIZATION:
        return "Replicas follow the demand by it, so it comes before requests shrink."
    return "It takes capacity away, so it comes when the steps before it are in force."
