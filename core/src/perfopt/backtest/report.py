"""What a backtest gives: the figures by policy, the worst misses, what could not be walked."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from perfopt.backtest.plan import Plan
from perfopt.backtest.policies import OURS
from perfopt.backtest.run import Walk
from perfopt.backtest.summary import PolicySummary, rounded, summarise
from perfopt.backtest.trial import Trial
from perfopt.domain.accuracy import DEFINITION
from perfopt.domain.period import format_duration, format_instant
from perfopt.errors import NoDataError

WORST = 6


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation that did not hold.

    Attributes:
        resource: the one that was short, the more so of the two.
        recommended, needed: cores or bytes, summed over containers.
        shortage: 1 - recommended / needed.
    """

    policy: str
    service: str
    made_at: datetime
    resource: str
    recommended: float
    needed: float
    shortage: float
    confidence: float | None = None


class FailedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that could not be walked."""

    service: str
    code: str
    message: str


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a backtest.

    Attributes:
        source: name of the source.
        definition: of accurate.
        services: how many were walked.
        cuts: the instants recommendations were made at.
        history, validity: durations.
        absent: (service, instant) pairs without any sample before the instant; nobody recommends there.
        policies: figures, in the order of the table.
        misses: the worst of perfopt, or without it of the most accurate policy.
        failed: services that could not be walked.
        notes: what a reader should know of the data.
    """

    source: str
    definition: str = DEFINITION
    services: int
    cuts: tuple[datetime, ...]
    history: str
    validity: str
    absent: int
    policies: tuple[PolicySummary, ...]
    misses: tuple[Miss, ...]
    failed: tuple[FailedService, ...]
    notes: tuple[str, ...]


def report(source: str, plan: Plan, walks: Sequence[Walk]) -> Backtest:
    """Puts the result together.

    Raises:
        NoDataError: nothing could be scored; says why.
    """
    walked = [walk for walk in walks if walk.error is None]
    trials = [trial for walk in walked for trial in walk.trials]
    failed = tuple(
        FailedService(service=walk.workload.service_name, code=walk.error.code, message=walk.error.explained)
        for walk in walks
        if walk.error is not None
    )
    if not any(trial.scored for trial in trials):
        raise _nothing(plan, trials, failed)
    policies = summarise(trials)
    present = {(trial.service, trial.made_at): trial.short_history for trial in trials}
    return Backtest(
        source=source,
        services=len(walked),
        cuts=plan.cuts,
        history=format_duration(plan.history),
        validity=format_duration(plan.validity),
        absent=len(walked) * len(plan.cuts) - len(present),
        policies=policies,
        misses=worst_misses(trials, _policy_to_show(policies)),
        failed=failed,
        notes=(*_notes(plan, present, trials), *_in_sample(policies)),
    )


def _in_sample(policies: Sequence[PolicySummary]) -> list[str]:
    return [
        f"IN-SAMPLE: {summary.in_sample} of {summary.all.scored} recommendations of {summary.policy} are by a"
        " model that was trained on the services they are for; elsewhere it would do less well."
        for summary in policies
        if summary.in_sample
    ]


def _policy_to_show(policies: Sequence[PolicySummary]) -> str:
    ours = [summary.policy for summary in policies if summary.policy.startswith(OURS)]
    if ours:
        return ours[0]
    return max(policies, key=lambda summary: summary.all.accuracy or 0.0).policy


def worst_misses(trials: Sequence[Trial], policy: str, most: int = WORST) -> tuple[Miss, ...]:
    """Returns the misses of a policy with the largest relative shortage, at most one a service."""
    found = [miss for trial in trials if trial.policy == policy and (miss := _miss(trial)) is not None]
    found.sort(key=lambda miss: (-miss.shortage, miss.service, miss.made_at))
    first: dict[str, Miss] = {}
    for miss in found:
        first.setdefault(miss.service, miss)
    return tuple(first.values())[:most]


def _miss(trial: Trial) -> Miss | None:
    short = [
        (1 - use.recommended / use.needed, resource, use)
        for resource, use in (("cpu", trial.cpu), ("memory", trial.memory))
        if use is not None and not use.safe
    ]
    if not short:
        return None
    shortage, resource, use = max(short, key=lambda item: item[0])
    return rounded(
        Miss(
            policy=trial.policy,
            service=trial.service,
            made_at=trial.made_at,
            resource=resource,
            recommended=use.recommended,
            needed=use.needed,
            shortage=shortage,
            confidence=trial.confidence,
        )
    )


def _notes(plan: Plan, present: dict[tuple[str, datetime], bool], trials: Sequence[Trial]) -> list[str]:
    notes = []
    short = sum(present.values())
    if short:
        notes.append(
            f"{short} of {len(present)} recommendations of each policy had less than the"
            f" {format_duration(plan.history)} of history asked for."
        )
    failures = [trial for trial in trials if trial.code == "strategy_failed"]
    if failures:
        notes.append(f"{len(failures)} times a strategy failed, first: {failures[0].reason}")
    return notes


def _counted(services: int) -> str:
    return "1 service" if services == 1 else f"{services} services"


def _nothing(plan: Plan, trials: Sequence[Trial], failed: Sequence[FailedService]) -> NoDataError:
    span = f"from {format_instant(plan.start)} to {format_instant(plan.end)}"
    if failed and not trials:
        why = f"{_counted(len(failed))} failed, first: {failed[0].message}"
    elif trials:
        first = trials[0]
        why = f"{len(trials)} recommendations were declined or not scored, first: {first.reason}"
    else:
        why = "no service has a sample before the last cut"
    return NoDataError(
        f"Nothing could be scored {span}: {why}.".replace("..", "."),
        remedy="Check --from and --until, or give a shorter --history or --validity.",
    )
