"""Rules that every proposal passes before it is replayed and shown. Pure."""

from perfopt.rules.base import Rule, Ruled, apply_rules
from perfopt.rules.safety import SAFETY_RULES, FloorRule, RecentMemoryPeakRule

__all__ = ["SAFETY_RULES", "FloorRule", "RecentMemoryPeakRule", "Rule", "Ruled", "apply_rules"]
