"""Replays policies on history: what each would have recommended, and how that did (DESIGN.md section 5)."""

from perfopt.backtest.bootstrap import Interval
from perfopt.backtest.comparison import Comparison, compare
from perfopt.backtest.engines import backtest_registry, open_engine, scorable
from perfopt.backtest.misses import MissSeries, read_miss_series
from perfopt.backtest.paired import PairedWalk, walk_both
from perfopt.backtest.plan import Plan, make_plan
from perfopt.backtest.policies import OURS, choose_policies
from perfopt.backtest.report import Backtest, Miss, report
from perfopt.backtest.run import Walk, walk_fleet
from perfopt.backtest.summary import PolicySummary, summarise
from perfopt.backtest.trial import Trial, Use

__all__ = [
    "OURS",
    "Backtest",
    "Comparison",
    "Interval",
    "Miss",
    "MissSeries",
    "PairedWalk",
    "Plan",
    "PolicySummary",
    "Trial",
    "Use",
    "Walk",
    "backtest_registry",
    "choose_policies",
    "compare",
    "make_plan",
    "open_engine",
    "read_miss_series",
    "report",
    "scorable",
    "summarise",
    "walk_both",
    "walk_fleet",
]
