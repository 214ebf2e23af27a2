"""Decides field by field whose value the plan takes. Order of the proposals does not matter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from perfopt.domain.fields import (
    BASIS,
    REQUEST_LIMIT_PAIRS,
    Path,
    Values,
    container_path,
    is_knob,
    label,
    more_is_safer,
    print_value,
)
from perfopt.domain.recommendation import ExpectedValue
from perfopt.domain.workload import WorkloadState
from perfopt.engine.plan.scored import BY_UTILITY, MEMORY_SAFETY, FieldGroup, ScoredProposal

SAME_FIELD, DEPENDENT_FIELD = "same_field", "dependent_field"
JOINT_VIOLATION, REDUNDANT, NO_NET_BENEFIT = "joint_violation", "redundant", "no_net_benefit"
REFUSED_BY_RULES = "refused_by_rules"
_REQUEST_OF_LIMIT = {limit: request for request, limit in REQUEST_LIMIT_PAIRS}


@dataclass(frozen=True, slots=True)
class RejectedField:
    """A value that is not taken.

    Attributes:
        path: the field.
        wanted: the value proposed.
        code: see domain.recommendation.Conflict.
        owner, winner: the proposals; no winner where the plan without any is worth more.
        rank: what the winner stands for; owner_rank: what the owner stands for.
        contested: the field that decided, another one where the code is DEPENDENT_FIELD.
        difference: what the plan would be worth more with it, where that decided.
        refusal: why rules refuse the plan with it, where that decided.
    """

    path: Path
    wanted: Any
    code: str
    owner: ScoredProposal
    winner: ScoredProposal | None
    rank: int
    contested: Path
    owner_rank: int = BY_UTILITY
    difference: ExpectedValue | None = None
    refusal: str | None = None


@dataclass(slots=True)
class MergedFields:
    """What was taken so far.

    Attributes:
        values: field to value.
        owners: field to the proposals whose value it is, or whom it serves; the deciding one first.
        ranks: field to what its deciding owner stands for.
        floors: field to the lowest value that what was taken allows, whose, and what that stands for.
        rejected: what was not taken.
    """

    values: dict[Path, Any] = field(default_factory=dict)
    owners: dict[Path, list[ScoredProposal]] = field(default_factory=dict)
    ranks: dict[Path, int] = field(default_factory=dict)
    floors: dict[Path, tuple[Any, ScoredProposal, int]] = field(default_factory=dict)
    rejected: list[RejectedField] = field(default_factory=list)

    def owned_by(self, scored: ScoredProposal) -> list[Path]:
        """Returns the fields that have this proposal's value; what requests rest on is nobody's."""
        return [
            path
            for path, owners in self.owners.items()
            if path != BASIS and any(owner is scored for owner in owners)
        ]

    def drop(self, path: Path) -> None:
        """Takes a field out again."""
        for by_path in (self.values, self.owners, self.ranks):
            by_path.pop(path, None)


def reconcile(current: Values, proposals: Iterable[ScoredProposal]) -> MergedFields:
    """Returns what is taken of the proposals.

    Groups of fields are heard by what they stand for: a declared objective first, then memory that must
    rise, then requests set jointly with an autoscaler's target, then by utility. A group is taken whole where
    no field of it is taken otherwise; where two that stand for safety want more or less of the same, the
    larger value serves both.

    Args:
        current: fields of the current state.
        proposals: the scored proposals.
    """
    merged = MergedFields()
    for group in sorted((g for one in proposals for g in one.groups), key=lambda group: group.order):
        against = _against(merged, group, current)
        if against is None:
            _take(merged, group)
        else:
            _reject(merged, group, *against)
    return merged


def _against(
    merged: MergedFields, group: FieldGroup, current: Values
) -> tuple[Path, ScoredProposal, int] | None:
    """Returns the first field of a group that can't be taken, who holds it and for what."""
    for path, value in group.values.items():
        if path in merged.values and merged.values[path] != value and not _serves_both(merged, group, path):
            return path, merged.owners[path][0], merged.ranks[path]
        if path in merged.floors and _below(value, merged.floors[path][0]):
            return path, merged.floors[path][1], merged.floors[path][2]
    for path, value in group.holds.items():
        if path in merged.values and path not in group.values and _below(merged.values[path], value):
            return path, merged.owners[path][0], merged.ranks[path]
    return None


def _serves_both(merged: MergedFields, group: FieldGroup, path: Path) -> bool:
    safe = merged.ranks[path] >= MEMORY_SAFETY and more_is_safer(path)
    return safe and _below(merged.values[path], group.values[path])


def _below(value: Any, other: Any) -> bool:
    """Tells whether a value is lower than another; unset is no bound, which is the highest."""
    return value is not None and (other is None or value < other)


def _take(merged: MergedFields, group: FieldGroup) -> None:
    for path, value in group.values.items():
        if path in merged.values and merged.values[path] != value:
            merged.rejected += [
                RejectedField(path, merged.values[path], SAME_FIELD, owner, group.owner, group.rank, path)
                for owner in merged.owners[path]
            ]
        owners = merged.owners.setdefault(path, [])
        # More than was wanted for safety serves who wanted it, too.
        owners.insert(0 if merged.values.get(path, value) != value else len(owners), group.owner)
        merged.values[path] = value
        merged.ranks[path] = max(group.rank, merged.ranks.get(path, group.rank))
    for path, value in group.holds.items():
        if path not in merged.floors or _below(merged.floors[path][0], value):
            merged.floors[path] = (value, group.owner, group.rank)


def _reject(
    merged: MergedFields, group: FieldGroup, contested: Path, winner: ScoredProposal, rank: int
) -> None:
    for path, value in group.values.items():
        code = SAME_FIELD if path == contested else DEPENDENT_FIELD
        merged.rejected.append(
            RejectedField(path, value, code, group.owner, winner, rank, contested, group.rank)
        )


def reject_all(
    merged: MergedFields,
    scored: ScoredProposal,
    code: str,
    winner: ScoredProposal | None,
    difference: ExpectedValue | None = None,
    refusal: str | None = None,
) -> None:
    """Notes that a proposal is not in the plan: it is worth more, or accepted by the rules, without it."""
    merged.rejected += [
        RejectedField(path, value, code, scored, winner, group.rank, path, group.rank, difference, refusal)
        for group in scored.groups
        for path, value in group.values.items()
    ]


def reject_stale_knobs(merged: MergedFields, state: WorkloadState) -> bool:
    """Takes out knobs that were computed for other limits than there will be; tells whether there were any.

    See `perfopt.plugin.MergeHints.depends_on` and `computed_for`.
    """
    stale = [path for path in merged.values if is_knob(path) and _moved_limit(merged, path, state)]
    for path in stale:
        contested = _moved_limit(merged, path, state)
        owners, value = merged.owners[path], merged.values[path]
        merged.drop(path)
        if contested is not None:
            winner, rank = merged.owners[contested][0], merged.ranks[contested]
            merged.rejected += [
                RejectedField(path, value, DEPENDENT_FIELD, owner, winner, rank, contested)
                for owner in owners
            ]
    return bool(stale)


def _moved_limit(merged: MergedFields, knob: Path, state: WorkloadState) -> Path | None:
    """Returns the field whose move made a container's limit another one than a knob was computed for."""
    scored, container = merged.owners[knob][0], knob[1]
    meant, there = scored.proposal.target.container(container), state.container(container)
    hints = scored.proposal.merge
    for limit, request in _REQUEST_OF_LIMIT.items():
        path = container_path(container, limit)
        if hints.depends_on is not None and label(path) not in hints.depends_on:
            continue
        computed_for = hints.computed_for.get(label(path), getattr(meant, limit, None))
        if print_value(path, computed_for) == print_value(path, getattr(there, limit, None)):
            continue
        for cause in (path, container_path(container, request)):
            if cause in merged.owners:
                return cause
    return None
