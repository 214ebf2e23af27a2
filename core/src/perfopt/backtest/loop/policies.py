"""What a closed loop is run with: a policy of sizes, and the rule by which its sizes come into force."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfopt.backtest.policies import Policy, StrategyPolicy
from perfopt.engine.loop import CONTROLLED, PLAIN, LoopSettings

LOOP = "+loop"


@dataclass(frozen=True, slots=True)
class LoopPolicy:
    """A policy and the rule of its loop.

    Attributes:
        policy: recommends at each origin.
        settings: what is worth a change, and what is drift.
        baseline: it is not of an installed plugin.
    """

    policy: Policy
    settings: LoopSettings
    baseline: bool

    @property
    def name(self) -> str:
        """The policy's name, with "+loop" for perfopt's rule."""
        return self.policy.name + (LOOP if self.settings == CONTROLLED else "")


def base_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of policies without "+loop", each once."""
    return tuple(dict.fromkeys(name.removesuffix(LOOP) for name in names))


def loop_policies(names: Sequence[str], policies: Sequence[Policy], ours: str) -> tuple[LoopPolicy, ...]:
    """Returns what is run.

    Args:
        names: as the user named them; a "+loop" after one puts perfopt's rule in its loop. None is all, an
            installed strategy by both rules.
        policies: of the names without "+loop".
        ours: names every installed strategy, by both rules.
    """
    loops = []
    for policy in policies:
        own = isinstance(policy, StrategyPolicy)
        both = own and (not names or ours in names)
        controlled = both or policy.name + LOOP in names or (own and ours + LOOP in names)
        plain = both or policy.name in names or (not own and not names)
        loops += [LoopPolicy(policy, CONTROLLED, baseline=not own)] if controlled else []
        loops += [LoopPolicy(policy, PLAIN, baseline=not own)] if plain else []
    return tuple(loops)
