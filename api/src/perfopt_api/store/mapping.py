"""Rows to domain structs and back. Nothing outside the store sees a row."""

import hashlib
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import RowMapping

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import FleetProgress, OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest, requested_types
from perfopt.errors import InvalidInputError
from perfopt_api.store.port import JobClass, JobKind
from perfopt_api.tracing import traceparent

MAX_SERVICE_NAME = 100
_KINDS = frozenset(
    {"deployment", "statefulset", "daemonset", "job", "cronjob", "rollout", "deploymentconfig"}
)
_OWN_COLUMNS = (
    "recommendation_id",
    "service_name",
    "optimization_type",
    "description",
    "current_state",
    "recommended_state",
    "expected_improvement",
    "workload",
    "made_at",
    "valid_until",
    "applied",
    "superseded_by",
    "withdrawn_at",
)
_PREDICTIONS = "predictions"
_JOB_FIELDS = (
    "job_id",
    "service_name",
    "optimization_type",
    "status",
    "optimization_types",
    "declined",
    "warnings",
    "error",
    "created_at",
    "completed_at",
    "parent_job_id",
    "plan",
    "fleet_id",
    "unchanged",
)


def namespace_of(service_name: str) -> str:
    """Returns the namespace in a name `[cluster/]namespace/[kind/]name`; "" in a name without one."""
    *before, _ = service_name.split("/")
    if len(before) > 1 and (len(before) > 2 or before[-1].lower() in _KINDS):
        before.pop()
    return before[-1] if before else ""


def workload_parts(workload: str) -> tuple[str, str, str]:
    """Returns cluster, namespace and kind of a workload's full name; "" is what it does not state.

    Names of files' series may hold slashes: without a known kind they have no part but the name.
    """
    *before, _ = workload.split("/")
    if not before or before[-1].lower() not in _KINDS:
        return "", "", ""
    kind = before.pop()
    return (before[-2] if len(before) > 1 else "", before[-1] if before else "", kind)


def in_scope(workload: str, scope: str) -> bool:
    """Tells whether a workload is within a scope of policy.

    Args:
        workload: its full name.
        scope: `*`, a namespace in any cluster, `cluster/namespace`, or a workload; of names that state no
            kind, what they begin with.
    """
    if scope in ("*", workload):
        return True
    cluster, namespace, kind = workload_parts(workload)
    if not kind:
        return workload.startswith(f"{scope}/")
    return scope == namespace if "/" not in scope else scope == f"{cluster}/{namespace}"


def job_namespaces(job: OptimizationJob) -> frozenset[str]:
    """Returns the namespaces that a job is about; "" where it names none and found none."""
    namespaces = {workload_parts(recommendation.workload)[1] for recommendation in job.recommendations}
    return frozenset(namespaces or {namespace_of(job.service_name)})


def new_job_row(
    request: PerformanceAnalysisRequest | FleetAnalysisRequest, requester: str | None
) -> dict[str, Any]:
    """Returns the columns of a job that was just asked for."""
    types = requested_types(request)
    body = msgspec.to_builtins(request)
    if isinstance(request, FleetAnalysisRequest):
        kind, priority = JobKind.FLEET, JobClass.FLEET
        name, namespace = str(request.selector)[:MAX_SERVICE_NAME], request.selector.namespace or ""
    else:
        del body["priority"]  # has a column, and workers of the version before do not know it
        kind, priority = JobKind.SINGLE, JobClass[request.priority.upper()]
        name, namespace = request.service_name, namespace_of(request.service_name)
    return {
        "job_id": str(uuid4()),
        "service_name": name,
        "optimization_type": types[0].value,
        "optimization_types": [each.value for each in types],
        "status": OptimizationStatus.ANALYZING.value,
        "analysis_period": request.analysis_period,
        "request": body,
        "priority": int(priority),
        "namespace": namespace,
        "fingerprint": hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest(),
        "requester": requester,
        "kind": kind.value,
        "traceparent": traceparent(),
    }


def recommendation_row(recommendation: OptimizationRecommendation) -> dict[str, Any]:
    """Returns the columns of a recommendation; fields without a column of their own go into `body`.

    Raises:
        InvalidInputError: the service's name is longer than its column.
    """
    if len(recommendation.service_name) > MAX_SERVICE_NAME:
        raise InvalidInputError(
            f"The name {recommendation.service_name[:40]!r}... has more than {MAX_SERVICE_NAME} characters.",
            field="service_name",
            remedy="Give the series a shorter name in the services file.",
        )
    fields = msgspec.to_builtins(recommendation, builtin_types=(type(recommendation.made_at),))
    row = {name: fields.pop(name, None) for name in (*_OWN_COLUMNS, _PREDICTIONS)}
    return row | {"body": fields}


def outcome_row(row: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns of the outcome that a recommendation's row will have: due, with what is stated."""
    body, improvement = row["body"], row["expected_improvement"]
    before, after = body["monthly_cost_current"], body["monthly_cost_recommended"]
    return {
        "recommendation_id": row["recommendation_id"],
        "due_at": row["valid_until"],
        "optimization_type": row["optimization_type"],
        "strategy": body["plugin"][:100],
        "service_class": body["service_class"],
        "stated": improvement["confidence"],
        "saving": None if before is None or after is None else before - after,
        "currency": body["currency"][:10],
    }


def recommendation_of(row: RowMapping) -> OptimizationRecommendation:
    """Builds a recommendation from its row; a row of a listing has no predictions."""
    fields = {name: row[name] for name in (*_OWN_COLUMNS, _PREDICTIONS) if name in row}
    return msgspec.convert(row["body"] | fields, OptimizationRecommendation)


def job_of(
    row: RowMapping,
    recommendations: Iterable[OptimizationRecommendation] = (),
    progress: FleetProgress | None = None,
) -> OptimizationJob:
    """Builds a job from its row and its recommendations by rank."""
    fields = {name: row[name] for name in _JOB_FIELDS}
    fields |= {"analysis_period": row["analysis_period"] or "14d"}
    job = msgspec.convert(fields, OptimizationJob)
    return msgspec.structs.replace(job, recommendations=tuple(recommendations), progress=progress)
