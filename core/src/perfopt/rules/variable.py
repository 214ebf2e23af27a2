"""What a variable of an expression is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perfopt.rules.facts import RuleFacts


@dataclass(frozen=True, slots=True)
class RuleVariable:
    """What an expression may read.

    Attributes:
        name: dotted, as it is written.
        kind: its CEL type: "double", "int", "string", "bool", "timestamp", "list" (of strings) or "map"
            (of strings to strings).
        unit: "cores", "bytes", ... or "" where it has none.
        description: what it is, and when it is not known.
        scope: "workload" stands in every rule, "container" in rules for containers, "proposal" in rules
            that come after the strategy, "container proposal" where both hold.
        read: computes it; None is not known.
        metric: of the catalogue that it is computed from, beside those read for every analysis.
    """

    name: str
    kind: str
    unit: str
    description: str
    scope: str
    read: Callable[[RuleFacts], Any]
    metric: str = ""
