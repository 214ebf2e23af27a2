"""What a rule is, and how rules are applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from perfopt.domain.recommendation import Declined
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal


class Rule(Protocol):
    """Corrects or vetoes a proposal. Stateless and deterministic.

    Attributes:
        name: how it is called in `rules_fired`.
    """

    name: str

    def apply(self, proposal: Proposal, context: AnalysisContext) -> Proposal | Declined:
        """Returns the same proposal where it has nothing to say, a corrected one, or a veto."""


@dataclass(frozen=True)
class Ruled:
    """A proposal after the rules.

    Attributes:
        fired: names of the rules that changed it, in order.
    """

    proposal: Proposal
    fired: tuple[str, ...]


def apply_rules(rules: Sequence[Rule], proposal: Proposal, context: AnalysisContext) -> Ruled | Declined:
    """Applies the rules in order; the first veto ends it."""
    fired: list[str] = []
    for rule in rules:
        result = rule.apply(proposal, context)
        if isinstance(result, Declined):
            return result
        if result != proposal:
            fired.append(rule.name)
            current = context.snapshot.workload.state
            result = msgspec.structs.replace(result, already_right=result.target == current)
        proposal = result
    return Ruled(proposal, tuple(fired))
