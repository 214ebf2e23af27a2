"""The public API for plugin authors: everything a strategy needs is imported from here."""

from perfopt.domain.enums import DeclineCode, OptimizationType, ServiceClass
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import Declined, Reason
from perfopt.domain.workload import Container, HpaState, Slo, Workload, WorkloadId, WorkloadState
from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.snapshot import ImageChange, PodSeries, TimeGrid, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext, Forecast
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP, hookimpl
from perfopt.plugin.strategy import Claim, Prior, Proposal, Strategy, decline

__all__ = [
    "ENTRY_POINT_GROUP",
    "METRICS",
    "AnalysisContext",
    "Claim",
    "Container",
    "DeclineCode",
    "Declined",
    "Forecast",
    "HpaState",
    "ImageChange",
    "Metric",
    "OptimizationType",
    "PodSeries",
    "PriceBook",
    "Prior",
    "Proposal",
    "Reason",
    "ServiceClass",
    "Slo",
    "Strategy",
    "TimeGrid",
    "Workload",
    "WorkloadId",
    "WorkloadSnapshot",
    "WorkloadState",
    "decline",
    "hookimpl",
]
