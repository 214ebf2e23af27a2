"""The latest analysis of each workload in one narrow row, for pages that filter, sort and add up many."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    Declined,
    OptimizationRecommendation,
    Plan,
)
from perfopt.report.changes import backtested, service_changes
from perfopt_api.store.mapping import workload_parts
from perfopt_api.store.tables import workloads

CHANGE, APPROVAL, NO_CHANGE, ABSTAINED, FAILED = "change", "approval", "no_change", "abstained", "failed"
_MAX_CODE = 100
_UNKNOWN = (
    "cost_current", "cost_recommended", "confidence", "n_effective", "recommendation_id", "valid_until",
)  # fmt: skip
_NOTHING = {"changes": 0, "currency": "", "assumed": False, "accurate": 0, "scored": 0, "owner": ""}
_OWNERS = (("keda", "KEDA"), ("hpa", "HPA"), ("vpa_mode", "VPA"))
# Reasons of a strategy that bound the value it recommends, or keep the present one.
_BOUNDS = frozenset(
    {
        "held_after_oom_kill", "held_by_other_metrics", "held_for_hpa", "knob_unsafe", "limited_by_quota",
        "memory_limit_kept", "memory_peak", "no_evidence_for_raise", "not_measured", "not_sized",
        "replicas_owned", "slo_missed", "small_change", "staying_enough", "vpa_owned",
    }
)  # fmt: skip


async def write_summary(
    connection: AsyncConnection, job_id: str, result: AnalysisResult, *, failed: bool = False
) -> None:
    """Replaces the row of the analysed workload.

    Args:
        connection: of the transaction that finishes the job.
        job_id: of the analysis.
        result: as it is stored.
        failed: no strategy could run.
    """
    row = summary_of(result, datetime.now(UTC), failed=failed) | {"job_id": job_id}
    statement = insert(workloads).values(row)
    await connection.execute(statement.on_conflict_do_update(index_elements=[workloads.c.workload], set_=row))


def summary_of(result: AnalysisResult, now: datetime, *, failed: bool = False) -> dict[str, Any]:
    """Returns the columns of a workload's row, but for the job."""
    cluster, namespace, kind = workload_parts(result.workload)
    status = _status(result, failed=failed)
    code, reason = _limit(result, status)
    return {
        "workload": result.workload,
        "service_name": result.service_name,
        "cluster": cluster,
        "namespace": namespace,
        "kind": kind,
        "status": status,
        "limit_code": code and code[:_MAX_CODE],
        "limit_reason": reason,
        "analysed_at": now,
        **_figures(result, now),
    }


def _figures(result: AnalysisResult, now: datetime) -> dict[str, Any]:
    changes = service_changes([result])
    whole: OptimizationRecommendation | Plan | None = result.plan or next(iter(result.recommendations), None)
    if whole is None:
        return dict.fromkeys(
            (
                "cost_current",
                "cost_recommended",
                "confidence",
                "n_effective",
                "recommendation_id",
                "valid_until",
            )
        ) | {"changes": 0, "currency": "", "assumed": False, "accurate": 0, "scored": 0, "owner": ""}
    accurate, scored = backtested(whole.evidence)
    return {
        "changes": sum(len(one.rows) for one in changes),
        "cost_current": whole.monthly_cost_current,
        "cost_recommended": whole.monthly_cost_recommended,
        "currency": whole.currency,
        "assumed": whole.current_state.get("basis") == "assumed_from_limit",
        "confidence": whole.expected_improvement.confidence,
        "accurate": accurate,
        "scored": scored,
        "n_effective": whole.confidence_detail.n_effective,
        "owner": next(iter(owners_of(whole.current_state)), ""),
        "recommendation_id": changes[0].rows[0].recommendation_id
        if changes
        else result.recommendations[0].recommendation_id,
        # Counts from the analysis where the data end long before it, see `unexpired`.
        "valid_until": max(
            max(one.valid_until, now + (one.valid_until - one.made_at)) for one in result.recommendations
        ),
    }


def _status(result: AnalysisResult, *, failed: bool) -> str:
    if failed:
        return FAILED
    if not result.recommendations:
        return ABSTAINED
    if not service_changes([result]):
        return NO_CHANGE
    whole: OptimizationRecommendation | Plan = result.plan or result.recommendations[0]
    return APPROVAL if whole.requires_approval else CHANGE


def owners_of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the autoscalers that set replicas or requests of a state: KEDA, HPA, VPA."""
    return tuple(name for key, name in _OWNERS if state.get(key) and state[key] != "Off")


def _limit(result: AnalysisResult, status: str) -> tuple[str | None, str | None]:
    """Returns what limits what is recommended, or why nothing is: a rule's name or a code, and the sentence.

    Of a recommended change it is a rule or a bound of that change, never why another type abstained.
    """
    if status in (ABSTAINED, FAILED):
        first = _foremost(result.declined)
        return (None, None) if first is None else (first.code.value, first.reason)
    whole: OptimizationRecommendation | Plan = result.plan or result.recommendations[0]
    holding = [rule for rule in whole.rules if rule.action in ("require_approval", "defer")]
    for rule in holding or whole.rules[:1]:
        return f"{rule.pack}/{rule.rule}", rule.reason
    shown = [one for one in result.recommendations if status == NO_CHANGE or not one.no_change_needed]
    bounds = [reason for one in shown for reason in one.reasons if reason.code in _BOUNDS]
    return (bounds[0].code, bounds[0].text) if bounds else (None, None)


def _foremost(declined: tuple[Declined, ...]) -> Declined | None:
    """Returns why sizes are not recommended, or else the first that abstained."""
    sizes = [one for one in declined if one.optimization_type is OptimizationType.RESOURCE_OPTIMIZATION]
    return next(iter((*sizes, *declined)), None)
