"""Compares policies of horizontal scaling on the demand of services, minute by minute."""

from perfopt.backtest.scaling.policies import choose_scaling_policies
from perfopt.backtest.scaling.report import ScalingBacktest, summarise_scaling
from perfopt.backtest.scaling.run import ServiceRun, run_services

__all__ = [
    "ScalingBacktest",
    "ServiceRun",
    "choose_scaling_policies",
    "run_services",
    "summarise_scaling",
]
