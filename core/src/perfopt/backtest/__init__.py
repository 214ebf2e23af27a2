"""Evaluates policies on history at rolling origins: what each would have recommended, and how that did."""

from perfopt.backtest.bootstrap import ConfidenceInterval
from perfopt.backtest.comparison import PolicyComparison, compare
from perfopt.backtest.engines import backtest_registry, open_engine
from perfopt.backtest.evaluated import EvaluatedRecommendation, OriginCase, PolicyDecision, ResourceUse
from perfopt.backtest.paired import PairedBacktest, backtest_pair
from perfopt.backtest.policies import OURS, Policy, choose_policies, engine_policies
from perfopt.backtest.report import BacktestResult, ViolatedRecommendation, report
from perfopt.backtest.run import ServiceBacktest, backtest_services
from perfopt.backtest.schedule import OriginSchedule, ScheduleRequest, make_schedule
from perfopt.backtest.summary import PolicySummary, summarise
from perfopt.backtest.violations import ViolationSeries, read_miss_series

__all__ = [
    "OURS",
    "BacktestResult",
    "ConfidenceInterval",
    "EvaluatedRecommendation",
    "OriginCase",
    "OriginSchedule",
    "PairedBacktest",
    "Policy",
    "PolicyComparison",
    "PolicyDecision",
    "PolicySummary",
    "ResourceUse",
    "ScheduleRequest",
    "ServiceBacktest",
    "ViolatedRecommendation",
    "ViolationSeries",
    "backtest_pair",
    "backtest_registry",
    "backtest_services",
    "choose_policies",
    "compare",
    "engine_policies",
    "make_schedule",
    "open_engine",
    "read_miss_series",
    "report",
    "summarise",
]
