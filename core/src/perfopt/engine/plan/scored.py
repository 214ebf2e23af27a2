"""A strategy's proposal with its expected utility, and what of it must be taken together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from perfopt.domain.fields import (
    BASIS,
    HPA_CPU,
    HPA_MEMORY,
    HPA_MIN,
    REPLICAS,
    SCHEDULE,
    Path,
    Values,
    all_fields,
    changed_values,
    is_cpu,
    is_cpu_request,
    is_memory,
    label,
    more_is_safer,
)
from perfopt.metrics.latency import missed_share
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.strategy import MergeHints, Proposal

FOR_OBJECTIVE, MEMORY_SAFETY, JOINT, BY_UTILITY, YIELDS = 3, 2, 1, 0, -1


@dataclass(frozen=True, slots=True)
class ScoredProposal:
    """A proposal and its expected utility.

    Attributes:
        key: of the strategy.
        confidence: probability that it is accurate.
        utility: expected, in money a month, with the preference of rules; see `utility.expected_utility`.
        current: the fields of the state that it was made for.
        for_objective: without it, the declared objective is predicted to be missed.
        changes: the fields in which its target differs from the current state.
        additions: the changes that give a workload more of anything.
        groups: the changes, split into what is taken together.
    """

    key: str
    proposal: Proposal
    confidence: float
    utility: float
    current: Values
    for_objective: bool = False
    target: Values = field(init=False)
    changes: Mapping[Path, Any] = field(init=False)
    additions: tuple[Path, ...] = field(init=False)
    groups: tuple["FieldGroup", ...] = field(init=False)

    def __post_init__(self) -> None:
        target = all_fields(self.proposal.target)
        set_once = object.__setattr__
        set_once(self, "target", target)
        set_once(self, "changes", changed_values(self.current, target))
        set_once(self, "additions", tuple(additions(self.current, target)))
        set_once(self, "groups", tuple(_groups(self)))

    @property
    def changes_something(self) -> bool:
        """Whether it changes anything beside what requests rest on."""
        return bool(self.changes.keys() - {BASIS})

    @property
    def raises_cpu_only(self) -> bool:
        """Whether all that it does is to give containers more CPU, not for safety."""
        return (
            any(is_cpu_request(path) for path in self.additions)
            and all(is_cpu(path) for path in self.changes.keys() - {BASIS})
            and all(group.rank <= BY_UTILITY for group in self.groups)
        )

    @property
    def adds_replicas(self) -> bool:
        """Whether it adds capacity by anything but sizes."""
        return any(path[0] != "container" for path in self.additions)


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Changes of one proposal that make sense only together: all are taken, or none.

    Attributes:
        values: field to the value proposed.
        rank: what it stands for before utility is looked at: FOR_OBJECTIVE, MEMORY_SAFETY, JOINT, BY_UTILITY,
            or YIELDS, where the proposal lets others go before.
        holds: fields and the values that the group was computed with: less of any breaks what it claims.
    """

    owner: ScoredProposal
    values: dict[Path, Any]
    rank: int
    holds: dict[Path, Any]

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts groups by who is heard first, whatever order the plugins came in."""
        owner = self.owner
        return (-self.rank, -owner.utility, -owner.confidence, owner.key, sorted(self.values))


def misses_objective(proposal: Proposal, snapshot: WorkloadSnapshot) -> bool:
    """Tells whether a proposal serves an objective that is missed, or predicted to be, if nothing changes.

    It is missed where more requests than its quantile leaves came in steps that missed it.
    """
    slo = snapshot.workload.slo
    if slo is None or not proposal.merge.serves_objective:
        return False
    interval, point = proposal.claim.latency_now_interval_ms, proposal.claim.latency_now_ms
    expected = interval[1] if interval is not None else point
    if expected is not None and expected > slo.latency_ms:
        return True
    return missed_share(snapshot.service, slo.quantile, slo.latency_ms) > 1 - slo.quantile


def _groups(scored: ScoredProposal) -> Iterable[FieldGroup]:
    hints = scored.proposal.merge
    containers = [container.name for container in scored.proposal.target.containers]
    patterns = _expanded(hints.groups, containers)
    split: dict[int | None, dict[Path, Any]] = {}
    for path, value in scored.changes.items():
        split.setdefault(_first_match(path, patterns), {})[path] = value
    holds = _held(scored, hints)
    return [FieldGroup(scored, values, _rank(scored, values), holds) for values in split.values()]


def _expanded(groups: tuple[tuple[str, ...], ...], containers: list[str]) -> list[tuple[str, ...]]:
    """Returns the groups of patterns, those of each container in place of `{container}`."""
    return [
        tuple(pattern.replace("{container}", name) for pattern in group)
        for group in groups
        for name in (containers if any("{container}" in pattern for pattern in group) else [""])
    ]


def _first_match(path: Path, groups: list[tuple[str, ...]]) -> int | None:
    return next((number for number, group in enumerate(groups) if _matches(path, group)), None)


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    name = label(path)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _held(scored: ScoredProposal, hints: MergeHints) -> dict[Path, Any]:
    if not hints.holds or (hints.serves_objective and not scored.for_objective):
        return {}
    held = {path: value for path, value in scored.target.items() if _matches(path, hints.holds)}
    return {path: hints.enough.get(label(path), value) for path, value in held.items()}


def _rank(scored: ScoredProposal, values: dict[Path, Any]) -> int:
    if scored.for_objective:
        return FOR_OBJECTIVE
    memory_alone = all(is_memory(path) for path in values)  # with replicas it rises because those fall
    if memory_alone and any(_raised(scored.current.get(path), value) for path, value in values.items()):
        return MEMORY_SAFETY
    if (HPA_CPU in values or HPA_MEMORY in values) and any(is_cpu_request(path) for path in values):
        return JOINT
    yields = scored.proposal.merge.yields
    return YIELDS if yields and all(_matches(path, yields) for path in values) else BY_UTILITY


def _raised(before: Any, after: Any) -> bool:
    return before is not None and after is not None and after > before


def additions(before: Values, after: Values) -> list[Path]:
    """Returns the fields in which a state gives a workload more: sizes, replicas, room below a threshold."""
    changed = changed_values(before, after)
    raised = [path for path, value in changed.items() if _more(path, before.get(path), value)]
    planned = _scheduled(after) > max(_scheduled(before), after.get(HPA_MIN) or after.get(REPLICAS) or 0)
    return [*raised, SCHEDULE] if planned else raised


def _more(path: Path, before: object, after: object) -> bool:
    if path in (HPA_CPU, HPA_MEMORY):  # a lower threshold keeps more replicas
        before, after = after, before
    elif not more_is_safer(path):
        return False
    if after is None:  # a limit taken away
        return before is not None
    return isinstance(before, int | float) and isinstance(after, int | float) and after > before


def _scheduled(values: Values) -> int:
    entries = values.get(SCHEDULE)
    if not isinstance(entries, list):
        return 0
    return max((int(entry["min_replicas"]) for entry in entries), default=0)
