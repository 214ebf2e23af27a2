"""Jobs: one request, its status and what came of it."""

from datetime import datetime
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.recommendation import AnalysisWarning, Declined, OptimizationRecommendation, Plan


class OptimizationJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as REST shows it: the seed's five fields, then additions.

    Attributes:
        optimization_type: the first type requested.
        optimization_types: all types requested.
        plan: what the recommendations make together; None where nothing is to be changed.
        error: why it FAILED, {code, message}.
        artifacts: what a dry run or an export gave.
        parent_job_id: of a job that applies a recommendation, the job that made it.
    """

    job_id: str
    service_name: str
    optimization_type: OptimizationType
    status: OptimizationStatus
    recommendations: tuple[OptimizationRecommendation, ...] = ()
    optimization_types: tuple[OptimizationType, ...] = ()
    analysis_period: str = "14d"
    declined: tuple[Declined, ...] = ()
    warnings: tuple[AnalysisWarning, ...] = ()
    error: dict[str, Any] | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    parent_job_id: str | None = None
    artifacts: tuple[dict[str, Any], ...] = ()
    plan: Plan | None = None
