"""What earlier changes allow: cool-down, breakers, and the blast radius. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.period import format_instant
from perfopt_api.policy.facts import Decision, PolicyClock, ProposedChange
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import PastApply

_BAD = frozenset({OptimizationStatus.FAILED, OptimizationStatus.ROLLED_BACK})
_NOT_ITS_DOING = frozenset(
    {"rollback_requested", "cancelled", "canary_lost", "released_meanwhile", "rollout_paused"}
)
_MAX_DOUBLINGS = 10
_SOON = timedelta(seconds=30)
_HOUR = timedelta(hours=1)


def cooled_down(
    change: ProposedChange, past: Sequence[PastApply], settings: PolicySettings, now: datetime
) -> Decision | None:
    """Returns a deferral while the workload's last change is too recent.

    The time doubles for each rollback or failure in a row, up to 1,024 times.
    """
    ended = sorted(
        (one for one in past if one.workload == change.workload and one.ended_at is not None),
        key=lambda one: one.ended_at or now,
        reverse=True,
    )
    if not ended or change.rescue:
        return None
    bad = 0
    while bad < len(ended) and ended[bad].status in _BAD:
        bad += 1
    pause = timedelta(minutes=settings.cooldown_minutes) * 2 ** min(bad, _MAX_DOUBLINGS)
    until = (ended[0].ended_at or now) + pause
    if until <= now:
        return None
    after = f" after {bad} change(s) that did not hold" if bad else ""
    reason = f"The workload was changed before and cools down until {format_instant(until)}{after}."
    return Decision(outcome="deferred", rule="policy.cooldown_minutes", reason=reason, until=until)


def tripped(
    change: ProposedChange, past: Sequence[PastApply], settings: PolicySettings, now: datetime
) -> Decision | None:
    """Returns a deferral where a namespace, or a strategy's version, was rolled back too often lately.

    What a person or a release took back is no sign of bad changes: one `restore` of a namespace must not
    stop it.
    """
    window = timedelta(hours=settings.breaker_hours)
    strategy = (change.strategy, change.strategy_version)
    places: tuple[tuple[str, Callable[[PastApply], bool]], ...] = (
        (
            f"namespace {change.namespace}",
            lambda one: (one.cluster, one.namespace) == (change.cluster, change.namespace),
        ),
        (
            f"strategy {' '.join(strategy)}",
            lambda one: bool(change.strategy) and (one.strategy, one.strategy_version) == strategy,
        ),
    )
    for name, matches in places:
        bad = sorted(
            one.ended_at for one in past if _shown_bad(one) and one.ended_at is not None and matches(one)
        )
        recent = [at for at in bad if at > now - window]
        if len(recent) >= settings.breaker_failures:
            until = recent[-settings.breaker_failures] + window
            reason = (
                f"{len(recent)} changes of the {name} were rolled back within {settings.breaker_hours:g} h."
            )
            return Decision(outcome="deferred", rule="policy.breaker_failures", reason=reason, until=until)
    return None


def _shown_bad(one: PastApply) -> bool:
    return one.status is OptimizationStatus.ROLLED_BACK and one.failure_code not in _NOT_ITS_DOING


def in_flight_allowed(
    change: ProposedChange, past: Iterable[PastApply], settings: PolicySettings, clock: PolicyClock
) -> Decision | None:
    """Returns a deferral while as many changes run as may; fewer do shortly after a worker's start."""
    running = [one for one in past if one.ended_at is None and not _waits_for_a_run(one)]
    most = _ramped(settings, clock.up_for)
    if len(running) >= most:
        return _soon("policy.max_in_flight", f"{len(running)} changes run, and {most} may.", clock.now)
    here = [one for one in running if (one.cluster, one.namespace) == (change.cluster, change.namespace)]
    most = settings.max_in_flight_namespace
    if len(here) >= most:
        reason = f"{len(here)} changes run in {change.namespace}, and {most} may."
        return _soon("policy.max_in_flight_namespace", reason, clock.now)
    return None


def _waits_for_a_run(one: PastApply) -> bool:
    """Returns whether a change is a CronJob's, which may wait for its next run for days."""
    return one.workload.split("/")[-2:-1] == ["cronjob"]


def _ramped(settings: PolicySettings, up_for: timedelta) -> int:
    ramp = timedelta(minutes=settings.ramp_minutes)
    if up_for >= ramp:
        return settings.max_in_flight
    return 1 + int((settings.max_in_flight - 1) * (up_for / ramp))


def per_hour_allowed(
    change: ProposedChange, past: Iterable[PastApply], settings: PolicySettings, now: datetime
) -> Decision | None:
    """Returns a deferral where as many changes began within this hour of the clock as may."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    begun = [one for one in past if one.started_at >= hour and one.cluster == change.cluster]
    here = [one for one in begun if one.namespace == change.namespace]
    for rule, count, most, where in (
        ("policy.max_per_hour", len(begun), settings.max_per_hour, "the cluster"),
        ("policy.max_per_hour_namespace", len(here), settings.max_per_hour_namespace, change.namespace),
    ):
        if count >= most:
            reason = f"{count} changes began in {where} within this hour, and {most} may."
            return Decision(outcome="deferred", rule=rule, reason=reason, until=hour + _HOUR)
    return None


def _soon(rule: str, reason: str, now: datetime) -> Decision:
    return Decision(outcome="deferred", rule=rule, reason=reason, until=now + _SOON)
