"""The result of a backtest: the figures by policy, the worst misses, what could not be evaluated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from perfopt.backtest.evaluated import EvaluatedRecommendation, ReplicaTrace
from perfopt.backtest.run import AbsentServiceError, ServiceBacktest
from perfopt.backtest.summary import PolicySummary, rounded, summarise
from perfopt.backtest.tiers import tiers
from perfopt.domain.accuracy import DEFINITION
from perfopt.domain.enums import OptimizationType
from perfopt.domain.period import format_duration, format_instant
from perfopt.errors import InvalidInputError, NoDataError, PerfoptError

MAX_MISSES = 6
MAX_NAMES = 5


class ViolatedRecommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation that was violated.

    Attributes:
        resource: "cpu" or "memory", the one that was short, the more so of the two.
        recommended, needed: cores or bytes, summed over containers.
        shortage: 1 - recommended / needed.
        validity: of the recommendation.
        trace: demand against replicas, where replicas were recommended.
    """

    policy: str
    optimization_type: OptimizationType | None
    service: str
    made_at: datetime
    resource: str
    recommended: float
    needed: float
    shortage: float
    validity: str
    confidence: float | None = None
    trace: ReplicaTrace | None = None


class ReplicaPicture(msgspec.Struct, frozen=True, kw_only=True):
    """Demand against the replicas that a policy would have run after one origin."""

    policy: str
    service: str
    made_at: datetime
    outcome: str
    trace: ReplicaTrace


class FailedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be evaluated."""

    service: str
    code: str
    message: str


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a backtest.

    Attributes:
        source: name of the source.
        definition: of accurate.
        services: how many were evaluated.
        origins: (service, origin) pairs with history before the origin.
        first_origin, last_origin: the earliest and the latest.
        history: what each recommendation is made from.
        validity: what most services are scored on, a duration.
        absent: (service, origin) pairs without any sample before the origin; nobody recommends there.
        policies: figures, in the order of the table.
        misses: the worst of the installed strategies of sizes, or without them of the most accurate policy.
        replicas: one window of each policy of SCALING with an interesting one: see `replica_pictures`.
        failed: services that could not be evaluated.
        notes: what a reader should know of the data.
    """

    source: str
    definition: str = DEFINITION
    services: int
    origins: int
    first_origin: datetime
    last_origin: datetime
    history: str
    validity: str
    absent: int
    policies: tuple[PolicySummary, ...]
    misses: tuple[ViolatedRecommendation, ...]
    replicas: tuple[ReplicaPicture, ...]
    failed: tuple[FailedService, ...]
    notes: tuple[str, ...]


def report(source: str, history: str, results: Sequence[ServiceBacktest]) -> BacktestResult:
    """Puts the result together.

    Args:
        source: name of the source.
        history: what each recommendation was given, a duration.
        results: one a service.

    Raises:
        NoDataError: nothing could be scored; says why.
        InvalidInputError: nothing, as what was asked fits no service.
    """
    evaluated = [one for one in results if one.error is None and one.schedule is not None]
    groups = tiers({one.workload.service_name: one.peaks for one in evaluated if one.peaks})
    rows = [_in_tier(row, groups) for one in evaluated for row in one.rows]
    failed = tuple(
        FailedService(service=one.workload.service_name, code=one.error.code, message=one.error.explained)
        for one in results
        if one.error is not None and not isinstance(one.error, AbsentServiceError)
    )
    absent = [one.workload.service_name for one in results if isinstance(one.error, AbsentServiceError)]
    if not any(row.scored for row in rows):
        raise _nothing(results, rows, failed, absent)
    policies = summarise(rows)
    present = {(row.service, row.made_at): row.short_history for row in rows}
    planned = sum(len(one.schedule.origins) for one in evaluated if one.schedule is not None)
    validities = _validities(evaluated)
    return BacktestResult(
        source=source,
        services=len(evaluated),
        origins=len(present),
        first_origin=min(at for _, at in present),
        last_origin=max(at for _, at in present),
        history=history,
        validity=Counter(validities.values()).most_common(1)[0][0],
        absent=planned - len(present),
        policies=policies,
        misses=worst_misses(rows, policies, validities),
        replicas=replica_pictures(rows, policies),
        failed=failed,
        notes=(
            *_of_services(absent),
            *_of_tiers(groups),
            *_notes(history, present, rows, validities),
            *_of_policies(policies),
        ),
    )


def _in_tier(row: EvaluatedRecommendation, groups: Mapping[str, str]) -> EvaluatedRecommendation:
    group = groups.get(row.service, row.service)
    return row if group == row.service else msgspec.structs.replace(row, tier=group)


def _of_tiers(groups: Mapping[str, str]) -> list[str]:
    """Says how many services move together, as their recommendations are no independent ones."""
    sizes = [size for size in Counter(groups.values()).values() if size > 1]
    if not sizes:
        return []
    groups_of = "1 group" if len(sizes) == 1 else f"{len(sizes)} groups"
    return [
        f"{sum(sizes)} services move together by their daily peaks, in {groups_of}: intervals count each"
        " group as one service."
    ]


def _of_services(absent: Sequence[str]) -> list[str]:
    if not absent:
        return []
    names = ", ".join(absent[:MAX_NAMES]) + (", ..." if len(absent) > MAX_NAMES else "")
    left = (
        "has no samples in this source and is"
        if len(absent) == 1
        else "have no samples in this source and are"
    )
    return [f"{_counted(len(absent))} {left} left out: {names}."]


def _validities(evaluated: Sequence[ServiceBacktest]) -> dict[str, str]:
    """Returns the validity of each service that has any row."""
    return {
        one.workload.service_name: format_duration(one.schedule.validity)
        for one in evaluated
        if one.schedule is not None and one.rows
    }


def _of_policies(policies: Sequence[PolicySummary]) -> list[str]:
    notes = [
        f"IN-SAMPLE: {summary.in_sample} of {summary.all.scored} recommendations of {summary.policy} are by a"
        " model that was trained on these services; on others its accuracy is lower."
        for summary in policies
        if summary.in_sample
    ]
    notes += [note for summary in policies if (note := _of_not_scored(summary)) is not None]
    assumed = max((summary.assumed for summary in policies), default=0)
    if assumed:
        notes.append(
            f"Up to {assumed} recommendations of a policy start from requests that the source does not state:"
            " they are assumed from limits, and so are their savings."
        )
    return notes


def _of_not_scored(summary: PolicySummary) -> str | None:
    """Says how many recommendations of an installed strategy history can't judge, and what would."""
    if summary.baseline or not summary.not_scored:
        return None
    reasons = "; ".join(f"{count} times {reason}" for reason, count in summary.not_scored_reasons.items())
    trying = (
        " Whether a runtime setting that changes no request or limit does well is seen only by applying it."
        if summary.optimization_type is OptimizationType.PERFORMANCE_TUNING
        else ""
    )
    return f"{summary.policy}: {summary.not_scored} of {summary.made} are not scored: {reasons}.{trying}"


def worst_misses(
    rows: Sequence[EvaluatedRecommendation],
    policies: Sequence[PolicySummary],
    validities: dict[str, str],
    most: int = MAX_MISSES,
) -> tuple[ViolatedRecommendation, ...]:
    """Returns the misses of the installed strategies with the largest relative shortage, one a service.

    Without an installed strategy they are of the most accurate policy.
    """
    shown = {(one.optimization_type, one.policy) for one in policies if not one.baseline}
    if not shown:
        best = max(policies, key=lambda summary: summary.all.accuracy or 0.0)
        shown = {(best.optimization_type, best.policy)}
    misses = [
        miss
        for row in rows
        if (row.optimization_type, row.policy) in shown and (miss := _miss(row, validities)) is not None
    ]
    misses.sort(key=lambda miss: (-miss.shortage, miss.service, miss.made_at, miss.policy))
    first: dict[str, ViolatedRecommendation] = {}
    for miss in misses:
        first.setdefault(miss.service, miss)
    return tuple(first.values())[:most]


def _miss(row: EvaluatedRecommendation, validities: dict[str, str]) -> ViolatedRecommendation | None:
    short = [
        (1 - use.recommended / use.needed, resource, use)
        for resource, use in (("cpu", row.cpu), ("memory", row.memory))
        if use is not None and not use.safe
    ]
    if not short:
        return None
    shortage, resource, use = max(short, key=lambda item: item[0])
    return rounded(
        ViolatedRecommendation(
            policy=row.policy,
            optimization_type=row.optimization_type,
            service=row.service,
            made_at=row.made_at,
            resource=resource,
            recommended=use.recommended,
            needed=use.needed,
            shortage=shortage,
            validity=validities[row.service],
            confidence=row.confidence,
            trace=row.trace,
        )
    )


def replica_pictures(
    rows: Sequence[EvaluatedRecommendation], policies: Sequence[PolicySummary], most: int = MAX_MISSES
) -> tuple[ReplicaPicture, ...]:
    """Returns demand against replicas of perfopt's policies of SCALING, one window a service and policy.

    Of each the window with the widest demand, those with the widest demand of all first.
    """
    shown = {one.policy for one in policies if not one.baseline}
    largest: dict[tuple[str, str], tuple[float, EvaluatedRecommendation]] = {}
    for row in rows:
        if row.trace is None or row.policy not in shown or max(row.trace.demand) <= 1:
            continue  # one replica is enough at any time: there is nothing to see
        key = (row.service, row.policy)
        spread = max(row.trace.demand) - min(row.trace.demand)
        if key not in largest or spread > largest[key][0]:
            largest[key] = (spread, row)
    ordered = sorted(largest.values(), key=lambda one: (-one[0], one[1].service, one[1].policy))
    return tuple(
        ReplicaPicture(
            policy=row.policy, service=row.service, made_at=row.made_at, outcome=row.outcome, trace=row.trace
        )
        for _, row in ordered[:most]
        if row.trace is not None
    )


def _notes(
    history: str,
    present: dict[tuple[str, datetime], bool],
    rows: Sequence[EvaluatedRecommendation],
    validities: dict[str, str],
) -> list[str]:
    notes = []
    short = sum(present.values())
    if short:
        notes.append(
            f"{short} of {len(present)} recommendations of each policy had less than the"
            f" {history} of history asked for."
        )
    usual = Counter(validities.values()).most_common()
    for validity, count in usual[1:]:
        notes.append(
            f"{_counted(count)} {'is' if count == 1 else 'are'} scored on {validity} after each origin."
        )
    failures = [row for row in rows if row.code == "strategy_failed"]
    if failures:
        notes.append(f"{len(failures)} times a strategy failed, first: {failures[0].reason}")
    return notes


def _counted(services: int) -> str:
    return "1 service" if services == 1 else f"{services} services"


def _nothing(
    results: Sequence[ServiceBacktest],
    rows: Sequence[EvaluatedRecommendation],
    failed: Sequence[FailedService],
    absent: Sequence[str],
) -> PerfoptError:
    if absent and not failed and not rows:
        return NoDataError(_of_services(absent)[0], field="source", remedy="Name another source or service.")
    if failed and not rows:
        why = f"{_counted(len(failed))} failed, first: {failed[0].message}"
    elif rows:
        why = f"{len(rows)} recommendations were declined or not scored, first: {rows[0].reason}"
    else:
        why = "no service has a sample before the last origin"
    schedules = [one.schedule for one in results if one.schedule is not None]
    span = ""
    if schedules:
        begin, end = min(one.start for one in schedules), max(one.end for one in schedules)
        span = f" from {format_instant(begin)} to {format_instant(end)}"
    wrong = failed and not rows and all(one.code == InvalidInputError.code for one in failed)
    kind = InvalidInputError if wrong else NoDataError
    return kind(
        f"Nothing could be scored{span}: {why.removesuffix('.')}.",
        remedy="Check --from and --until, or give a shorter --history or --validity.",
    )
