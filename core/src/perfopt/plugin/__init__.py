"""The public API for plugin authors: everything a strategy needs is imported from here."""

from perfopt.config.describe import SettingsFile
from perfopt.domain.enums import Basis, DeclineCode, OptimizationType, ServiceClass
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.price import DEFAULT_PRICE_BOOK, NodeType, PriceBook
from perfopt.domain.quantity import format_cpu, format_memory, parse_cpu, parse_memory
from perfopt.domain.recommendation import Coverage, Declined, Reason
from perfopt.domain.workload import CONCEALED, Container, HpaState, Slo, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.latency import missed_share, realised_latency
from perfopt.metrics.snapshot import Array, ImageChange, PodSeries, PodStart, TimeGrid, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext, Forecast
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP, hookimpl
from perfopt.plugin.models import ModelKind, TrainedModel, Trainer, TrainingRequest
from perfopt.plugin.strategy import (
    SEPARATE_CONTAINERS,
    Claim,
    MergeHints,
    Prior,
    Proposal,
    Strategy,
    decline,
)

__all__ = [
    "CONCEALED",
    "CPU_FLOOR_CORES",
    "DEFAULT_PRICE_BOOK",
    "ENTRY_POINT_GROUP",
    "MEMORY_FLOOR_BYTES",
    "METRICS",
    "SEPARATE_CONTAINERS",
    "AnalysisContext",
    "Array",
    "Basis",
    "Claim",
    "Container",
    "Coverage",
    "DeclineCode",
    "Declined",
    "Forecast",
    "HpaState",
    "ImageChange",
    "InvalidInputError",
    "MergeHints",
    "Metric",
    "ModelKind",
    "NodeType",
    "OptimizationType",
    "PodSeries",
    "PodStart",
    "PriceBook",
    "Prior",
    "Proposal",
    "Reason",
    "ServiceClass",
    "SettingsFile",
    "Slo",
    "Strategy",
    "TimeGrid",
    "TrainedModel",
    "Trainer",
    "TrainingRequest",
    "Workload",
    "WorkloadId",
    "WorkloadSnapshot",
    "WorkloadState",
    "decline",
    "format_cpu",
    "format_memory",
    "hookimpl",
    "missed_share",
    "parse_cpu",
    "parse_memory",
    "realised_latency",
]
