"""Declarative rules: packs of YAML and CEL that every proposal passes before it is replayed and shown. Pure.

A rule pack clamps, rounds, vetoes or holds back what strategies propose; see docs/reference/rules.md.
"""

from functools import lru_cache

from perfopt.config.loading import RulesConfig
from perfopt.rules.apply import RuledProposal, RuleSet
from perfopt.rules.book import LayeredPack, PackSetting, RuleBook, RuleLayer, RuleSources, pack_settings
from perfopt.rules.pack import RulePack
from perfopt.rules.reading import check_pack, read_pack, shipped_packs

__all__ = [
    "LayeredPack",
    "PackSetting",
    "RuleBook",
    "RuleLayer",
    "RulePack",
    "RuleSet",
    "RuleSources",
    "RuledProposal",
    "check_pack",
    "default_book",
    "pack_settings",
    "read_pack",
    "shipped_packs",
]


@lru_cache(maxsize=1)
def default_book() -> RuleBook:
    """Returns the rules of an installation that configures none: the shipped packs as they are."""
    return RuleBook(RuleSources.read(RulesConfig()))
