"""The public API for plugin authors: everything a strategy needs is imported from here."""

from perfopt.config.describe import SettingsFile
from perfopt.domain.enums import Basis, DeclineCode, OptimizationType, ServiceClass
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.price import DEFAULT_PRICE_BOOK, NodeType, PriceBook
from perfopt.domain.quantity import format_cpu, format_memory, parse_cpu, parse_memory
from perfopt.domain.recommendation import Coverage, Declined, Reason
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES
from perfopt.domain.workload import CONCEALED, Container, HpaState, Slo, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.latency import missed_share, realised_latency
from perfopt.metrics.need import SCORED_COVERAGE, smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import Array, ImageChange, PodSeries, PodStart, TimeGrid, WorkloadSnapshot
from perfopt.plugin.calendar import SessionCalendar
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.forecasting import (
    CostClass,
    Forecast,
    Forecaster,
    ForecastRequest,
    ForecastSpec,
    ModelForecaster,
    Prediction,
)
from perfopt.plugin.history import (
    MIN_COVERAGE,
    MIN_HISTORY,
    THROTTLED_PERIODS,
    THROTTLED_STEPS,
    InsufficientHistory,
    Throttling,
    check_history,
    enough_since,
    min_history,
    replicas_owner,
    replicas_within_quota,
    requests_owner,
    running_replicas,
    steps_with_samples,
    throttling,
    unseen_triggers,
    utilization_target,
    validity_steps,
)
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
    "MIN_COVERAGE",
    "MIN_HISTORY",
    "SCORED_COVERAGE",
    "SEPARATE_CONTAINERS",
    "THROTTLED_PERIODS",
    "THROTTLED_STEPS",
    "UNDER_PROVISIONING_PENALTIES",
    "AnalysisContext",
    "Array",
    "Basis",
    "Claim",
    "Container",
    "CostClass",
    "Coverage",
    "DeclineCode",
    "Declined",
    "Forecast",
    "ForecastRequest",
    "ForecastSpec",
    "Forecaster",
    "HpaState",
    "ImageChange",
    "InsufficientHistory",
    "InvalidInputError",
    "MergeHints",
    "Metric",
    "ModelForecaster",
    "ModelKind",
    "NodeType",
    "OptimizationType",
    "PodSeries",
    "PodStart",
    "Prediction",
    "PriceBook",
    "Prior",
    "Proposal",
    "Reason",
    "ServiceClass",
    "SessionCalendar",
    "SettingsFile",
    "Slo",
    "Strategy",
    "Throttling",
    "TimeGrid",
    "TrainedModel",
    "Trainer",
    "TrainingRequest",
    "Workload",
    "WorkloadId",
    "WorkloadSnapshot",
    "WorkloadState",
    "check_history",
    "decline",
    "enough_since",
    "format_cpu",
    "format_memory",
    "hookimpl",
    "min_history",
    "missed_share",
    "parse_cpu",
    "parse_memory",
    "realised_latency",
    "replicas_owner",
    "replicas_within_quota",
    "requests_owner",
    "running_replicas",
    "smallest_cpu_request",
    "smallest_memory_request",
    "steps_with_samples",
    "throttling",
    "unseen_triggers",
    "utilization_target",
    "validity_steps",
]
