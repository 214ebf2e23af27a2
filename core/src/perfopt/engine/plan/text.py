"""The sentences of a plan: what to do, in which order, and why something is not in it."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from perfopt.domain.fields import Values, is_knob, label, print_value
from perfopt.domain.recommendation import Conflict, ExpectedValue
from perfopt.domain.workload import Slo
from perfopt.engine.plan.reconcile import (
    DEPENDENT_FIELD,
    JOINT_VIOLATION,
    NO_NET_BENEFIT,
    REDUNDANT,
    RejectedField,
)
from perfopt.engine.plan.scored import (
    BY_UTILITY,
    FOR_OBJECTIVE,
    JOINT,
    MEMORY_SAFETY,
    YIELDS,
    ScoredProposal,
)

_MAX_CHANGES = 6
_MAX_VALUE_LENGTH = 40


def conflict(rejected: RejectedField, values: Values, slo: Slo | None, currency: str) -> Conflict:
    """Returns a rejected field as users see it.

    Args:
        rejected: the field.
        values: the plan's, by field.
        slo: of the service.
        currency: of values.
    """
    owner, winner = rejected.owner, rejected.winner
    return Conflict(
        field=label(rejected.path),
        code=rejected.code,
        wanted=print_value(rejected.path, rejected.wanted),
        kept=print_value(rejected.path, values.get(rejected.path)),
        lost_by=owner.key,
        lost_by_type=owner.proposal.optimization_type,
        won_by=None if winner is None else winner.key,
        won_by_type=None if winner is None else winner.proposal.optimization_type,
        reason=_why(rejected, slo, currency),
    )


def _why(rejected: RejectedField, slo: Slo | None, currency: str) -> str:
    if rejected.refusal is not None:
        return f"Rules refuse the plan with it: {rejected.refusal}"
    if rejected.winner is None or rejected.code == NO_NET_BENEFIT:
        return f"Negative net value: {_difference(rejected.difference, currency)}."
    winner, contested = rejected.winner.key, label(rejected.contested)
    if rejected.code == JOINT_VIOLATION:
        return f"Accurate alone, but violated together with the changes of {winner} in the backtest."
    if rejected.code == REDUNDANT:
        return (
            f"Redundant: the capacity that {winner} adds is enough in the backtest;"
            f" {_difference(rejected.difference, currency)}."
        )
    if rejected.code == DEPENDENT_FIELD and is_knob(rejected.path) and rejected.contested[0] == "container":
        return f"Computed for another {contested} than {winner} sets; analyse again once that is applied."
    if rejected.owner_rank == YIELDS and rejected.rank == BY_UTILITY:
        return f"{winner} sets requests and limits; this proposal changes nothing else."
    if rejected.code == DEPENDENT_FIELD:
        return f"Depends on {contested}, which {winner} sets to another value."
    return _higher(rejected, rejected.winner, slo, currency)


def _higher(rejected: RejectedField, winner: ScoredProposal, slo: Slo | None, currency: str) -> str:
    """Returns what the winner of a contested field stands for."""
    if rejected.rank == FOR_OBJECTIVE and slo is not None:
        return (
            f"{winner.key} needs this field to meet the objective of {slo.latency_ms:g} ms at the"
            f" {slo.quantile:.4g} quantile."
        )
    if rejected.rank == MEMORY_SAFETY:
        return f"{winner.key} needs this much memory to be safe; less risks an OOM kill."
    if rejected.rank == JOINT:
        return f"{winner.key} sets the request and the autoscaler target together, so replicas do not grow."
    return (
        f"{winner.key} has the higher expected utility (saving, confidence and under-provisioning penalty):"
        f" {_utility(winner, currency)} against {_utility(rejected.owner, currency)}."
    )


def _difference(value: ExpectedValue | None, currency: str) -> str:
    """Returns what a proposal would add to the plan, in money a month."""
    if value is None or (not value.saving and not value.risk):
        return "it would not change the expected value"
    return (
        f"with it the plan is worth {value.total:+.2f} {currency} a month (saving {value.saving:+.2f},"
        f" risk of under-provisioning {value.risk:+.2f})"
    )


def _utility(scored: ScoredProposal, currency: str) -> str:
    return f"{scored.utility:.2f} {currency} a month at confidence {scored.confidence:.2f}"


def left_out(conflicts: Sequence[Conflict]) -> str:
    """Returns what follows a recommendation's own sentence: which of its fields are rejected, and why."""
    parts = [
        f"{one.field} is {_short(one.kept)} instead of {_short(one.wanted)}"
        for one in conflicts[:_MAX_CHANGES]
    ]
    more = len(conflicts) - len(parts)
    listed = ", ".join(parts) + (f" and {more} more" if more else "")
    return f"In the plan {listed}: {conflicts[0].reason}"


def rejection(conflicts: Sequence[Conflict]) -> str:
    """Returns why a proposal of which nothing is in the plan makes no recommendation."""
    fields = ", ".join(f"{one.field} {_short(one.wanted)}" for one in conflicts[:_MAX_CHANGES])
    return f"rejected: {fields}; {conflicts[0].reason}"


def plan(changes: Values, before: Values, validity: timedelta, parts: int) -> str:
    """Returns the one sentence of a plan."""
    source = "one recommendation" if parts == 1 else f"{parts} recommendations together"
    return f"{moves(changes, before, validity)}: {source}, in the order of the steps."


def moves(changes: Values, before: Values, validity: timedelta) -> str:
    """Returns what is set for how long, as "Set main.cpu_request from 2 to 1443m, for the next 7 days"."""
    listed = [
        f"{label(path)}{_from(print_value(path, before.get(path)))} to {_short(print_value(path, value))}"
        for path, value in list(changes.items())[:_MAX_CHANGES]
    ]
    more = len(changes) - len(listed)
    text = ", ".join(listed) + (f" and {more} more" if more else "")
    return f"Set {text}, for the next {_duration(validity)}"


def _from(value: object) -> str:
    return "" if value is None else f" from {_short(value)}"


def _short(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, list | dict):
        return f"{len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    text = str(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 3]}..."


def _duration(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    number, unit = (hours / 24, "day") if hours >= 48 else (hours, "hour")
    return f"{number:.3g} {unit}{'' if number == 1 else 's'}"


def step(
    *, follows_demand: bool, for_objective: bool, dearer: bool | None, others: Collection[bool | None]
) -> str:
    """Returns why a step has its place in the order.

    Args:
        follows_demand: replicas follow the demand by it.
        for_objective: the objective needs it.
        dearer: it adds capacity (True), removes some (False), or neither (None).
        others: the same of the other steps.
    """
    if not others:
        return "The only step."
    if for_objective:
        return "First: the declared objective needs it."
    if dearer:
        if False in others:
            return "Adds capacity, so it comes before steps that remove capacity."
        return "Adds capacity, which is safe at any time."
    if dearer is None:
        return "Does not change the cost, so it comes between adding and removing capacity."
    if follows_demand:
        return "Replicas follow the demand after it, so it comes before requests shrink."
    return "Removes capacity, so it comes after the steps before it are applied."
