"""Decides field by field whose value the plan takes. Order of the bids does not matter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from perfopt.domain.fields import (
    BASIS,
    REQUEST_LIMIT_PAIRS,
    Path,
    all_fields,
    container_path,
    is_knob,
    more_is_safer,
    print_value,
)
from perfopt.domain.recommendation import ExpectedValue
from perfopt.domain.workload import WorkloadState
from perfopt.engine.plan.bids import BY_VALUE, MEMORY_SAFETY, Bid, Group, groups, held

_REQUEST_OF_LIMIT = {limit: request for request, limit in REQUEST_LIMIT_PAIRS}
SAME_FIELD, GOES_TOGETHER, BREACHES_TOGETHER = "same_field", "goes_together", "breaches_together"
ENOUGH_WITHOUT, NOT_WORTH_IT = "enough_without", "not_worth_it"


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that is not taken.

    Attributes:
        path: the field.
        wanted: by the loser.
        code: see domain.recommendation.Conflict.
        lost_by, won_by: the bids; None where staying as it is won.
        rank: what the winner stands for.
        contested: the field that decided, another one where the code is "goes_together".
        lost_rank: what the loser stands for.
        value: of the loser, where staying as it is is worth more.
    """

    path: Path
    wanted: Any
    code: str
    lost_by: Bid
    won_by: Bid | None
    rank: int
    contested: Path
    lost_rank: int = BY_VALUE
    value: ExpectedValue | None = None


@dataclass(slots=True)
class Agreed:
    """What was taken so far.

    Attributes:
        values: field to value.
        owners: field to the bids whose value it is, or whom it serves; the deciding one first.
        ranks: field to what its deciding owner stands for.
        least: field to the least value that what was taken rests on, whose, and what that stands for.
        losses: what was not taken.
    """

    values: dict[Path, Any] = field(default_factory=dict)
    owners: dict[Path, list[Bid]] = field(default_factory=dict)
    ranks: dict[Path, int] = field(default_factory=dict)
    least: dict[Path, tuple[Any, Bid, int]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)

    def owned_by(self, bid: Bid) -> list[Path]:
        """Returns the fields that have this bid's value; what a baseline rests on is nobody's."""
        return [
            path for path, owners in self.owners.items() if path != BASIS and any(o is bid for o in owners)
        ]


def reconcile(current: WorkloadState, bids: Iterable[Bid]) -> Agreed:
    """Returns what is taken of the bids.

    Groups of fields are heard by what they stand for: a declared objective first, then memory that must
    rise, then requests set jointly with an autoscaler's target, then by value. A group is taken whole where
    no field of it is taken otherwise; where two that stand for safety want more or less of the same, the
    larger value serves both.
    """
    agreed = Agreed()
    for group in sorted((g for bid in bids for g in groups(bid, current)), key=lambda g: g.order):
        against = _against(agreed, group, all_fields(current))
        if against is None:
            _take(agreed, group)
        else:
            _lose(agreed, group, *against)
    return agreed


def _against(agreed: Agreed, group: Group, before: dict[Path, Any]) -> tuple[Path, Bid, int] | None:
    """Returns the first field of a group that can't be taken, who holds it and for what."""
    for path, value in group.values.items():
        if path in agreed.values and agreed.values[path] != value and not _serves_both(agreed, group, path):
            return path, agreed.owners[path][0], agreed.ranks[path]
        if path in agreed.least and _below(value, agreed.least[path][0]):
            return path, agreed.least[path][1], agreed.least[path][2]
    for path, value in held(group).items():
        if path in agreed.values and path not in group.values and _below(agreed.values[path], value):
            return path, agreed.owners[path][0], agreed.ranks[path]
    return None


def _serves_both(agreed: Agreed, group: Group, path: Path) -> bool:
    safe = agreed.ranks[path] >= MEMORY_SAFETY and more_is_safer(path)
    return safe and _below(agreed.values[path], group.values[path])


def _below(value: Any, other: Any) -> bool:
    """Tells whether a value is lower than another; unset is no bound, which is the highest."""
    return value is not None and (other is None or value < other)


def _take(agreed: Agreed, group: Group) -> None:
    for path, value in group.values.items():
        if path in agreed.values and agreed.values[path] != value:
            for owner in agreed.owners[path]:
                lost = Loss(path, agreed.values[path], SAME_FIELD, owner, group.bid, group.rank, path)
                agreed.losses.append(lost)
        owners = agreed.owners.setdefault(path, [])
        # More than was wanted for safety serves who wanted it, too.
        owners.insert(0 if agreed.values.get(path, value) != value else len(owners), group.bid)
        agreed.values[path] = value
        agreed.ranks[path] = max(group.rank, agreed.ranks.get(path, group.rank))
    for path, value in held(group).items():
        if path not in agreed.least or _below(agreed.least[path][0], value):
            agreed.least[path] = (value, group.bid, group.rank)


def _lose(agreed: Agreed, group: Group, contested: Path, winner: Bid, rank: int) -> None:
    for path, value in group.values.items():
        code = SAME_FIELD if path == contested else GOES_TOGETHER
        agreed.losses.append(Loss(path, value, code, group.bid, winner, rank, contested, group.rank))


def lose_all(agreed: Agreed, bid: Bid, winner: Bid, current: WorkloadState, code: str) -> None:
    """Notes that all a bid wants is lost, because of what it does beside the rest."""
    for group in groups(bid, current):
        for path, value in group.values.items():
            agreed.losses.append(Loss(path, value, code, bid, winner, group.rank, path))


def lose_to_staying(agreed: Agreed, bid: Bid, value: ExpectedValue, current: WorkloadState) -> None:
    """Notes that all a bid wants is lost, because staying as it is is worth more."""
    agreed.losses += [
        Loss(path, wanted, NOT_WORTH_IT, bid, None, group.rank, path, value=value)
        for group in groups(bid, current)
        for path, wanted in group.values.items()
    ]


def lose_stale_knobs(agreed: Agreed, state: WorkloadState) -> bool:
    """Takes out knobs that were computed for other limits than there will be; tells whether there were any.

    A proposal may say in its data which limits the knobs of a container rest on: {"rests_on": {container:
    [field, ...]}}. Otherwise it is both. The engine asks once more for knobs for the limits that there will
    be, and notes in "computed_for" which these are.
    """
    stale = [path for path in agreed.values if is_knob(path) and _moved_limit(agreed, path, state)]
    for path in stale:
        contested = _moved_limit(agreed, path, state)
        owners = agreed.owners.pop(path)
        value = agreed.values.pop(path)
        agreed.ranks.pop(path)
        if contested is not None:
            winner, rank = agreed.owners[contested][0], agreed.ranks[contested]
            agreed.losses += [
                Loss(path, value, GOES_TOGETHER, owner, winner, rank, contested) for owner in owners
            ]
    return bool(stale)


def _moved_limit(agreed: Agreed, knob: Path, state: WorkloadState) -> Path | None:
    """Returns the field whose move made a container's limit another one than a knob was computed for."""
    bid, container = agreed.owners[knob][0], knob[1]
    meant, there = bid.proposal.target.container(container), state.container(container)
    data = bid.proposal.data
    rests_on = data.get("rests_on", {}).get(container, _REQUEST_OF_LIMIT)
    computed_for = data.get("computed_for", {}).get(container, {})
    for limit, request in _REQUEST_OF_LIMIT.items():
        wanted = computed_for.get(limit, getattr(meant, limit, None))
        place = container_path(container, limit)
        moved = limit in rests_on and print_value(place, wanted) != print_value(
            place, getattr(there, limit, None)
        )
        for path in (place, container_path(container, request)):
            if moved and path in agreed.owners:
                return path
    return None
