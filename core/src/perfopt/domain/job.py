"""Jobs: one request, its status and what came of it."""

from datetime import datetime
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.recommendation import AnalysisWarning, Declined, OptimizationRecommendation, Plan


class SourceUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric source was asked for.

    Attributes:
        queries: requests, attempts not counted twice.
        samples: values in the answers.
        bytes: length of the answers.
        seconds: summed over the queries, the wait for a free connection included.
    """

    queries: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: "SourceUsage") -> "SourceUsage":
        """Returns both together."""
        return SourceUsage(
            queries=self.queries + other.queries,
            samples=self.samples + other.samples,
            bytes=self.bytes + other.bytes,
            seconds=self.seconds + other.seconds,
        )


class FleetProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the analysis of a fleet is.

    Attributes:
        workloads: selected; 0 until the inventory was read.
        analysed, failed: of these so far.
        unchanged: analysed ones whose recommendations in force stay as they are.
        recommendations: stored so far; `GET /recommendations?job_id=` lists them.
        batches, batches_done: units of work.
        usage: what the metric source was asked for so far.
        namespace: the only one that it selects from; None is any.
    """

    workloads: int = 0
    analysed: int = 0
    failed: int = 0
    unchanged: int = 0
    recommendations: int = 0
    batches: int = 0
    batches_done: int = 0
    usage: SourceUsage = SourceUsage()
    namespace: str | None = None


class OptimizationJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as REST shows it: the seed's five fields, then additions.

    Attributes:
        optimization_type: the first type requested.
        optimization_types: all types requested.
        plan: what the recommendations make together; None where nothing is to be changed.
        error: why it FAILED, {code, message}.
        artifacts: what a dry run or an export gave.
        parent_job_id: of a job that applies a recommendation, the job that made it.
        fleet_id: of the analysis of one workload of a fleet, the fleet's job.
        progress: of a fleet's job.
        unchanged: recommendations that stay in force, since the analysis changes nothing worth a change.
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
    fleet_id: str | None = None
    progress: FleetProgress | None = None
    unchanged: tuple[str, ...] = ()
