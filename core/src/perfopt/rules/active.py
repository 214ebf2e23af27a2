"""Packs and rules as they hold for one workload: their parameters and exchange are known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from perfopt.rules.compiled import Bound, CompiledPack, CompiledRule
from perfopt.rules.language import UNKNOWN, RuleExpression


@dataclass(frozen=True, slots=True)
class ActivePack:
    """A pack as it holds for one workload.

    Attributes:
        parameters: name, with "params." before it, to value.
        exchange: whose sessions its rules speak of.
    """

    compiled: CompiledPack
    parameters: Mapping[str, Any]
    exchange: str | None = None


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    """A rule with the pack it is from, as it holds for the workload."""

    active: ActivePack
    compiled: CompiledRule


def folded(rule: CompiledRule, pack: ActivePack) -> CompiledRule:
    """Returns a rule whose bounds that depend on parameters alone are numbers."""

    def number(bound: Bound) -> Bound:
        if not isinstance(bound, RuleExpression) or bound.reads:
            return bound
        value = bound.fixed_value(pack.parameters)
        return bound if value is UNKNOWN else float(value)

    changes = tuple(
        replace(c, at_least=number(c.at_least), at_most=number(c.at_most), to=number(c.to))
        for c in rule.changes
    )
    return replace(rule, changes=changes)
