"""Whether a change may be made now: each rule by itself, the first that does not allow it decides. Pure."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from perfopt.domain.period import format_instant
from perfopt_api.policy.facts import ALLOWED, Decision, PolicyClock, ProposedChange
from perfopt_api.policy.history import cooled_down, in_flight_allowed, per_hour_allowed, tripped
from perfopt_api.policy.settings import PolicySettings, WeeklyWindow, range_of
from perfopt_api.policy.sizes import directions_of, out_of_range
from perfopt_api.policy.windows import after_session, next_window
from perfopt_api.store.apply_port import ApplyFacts, Freeze
from perfopt_api.store.mapping import in_scope

_LOOK_AGAIN = timedelta(minutes=5)

Rule = Callable[[ProposedChange, ApplyFacts, PolicySettings, PolicyClock], Decision | None]


def decide(
    change: ProposedChange, facts: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> Decision:
    """Returns whether a change may begin now.

    Denials go first, then what waits for a person, then what waits for a time.

    Args:
        change: what is to be done.
        facts: what was done, what is frozen, which strategies are only advice.
        settings: of the policy.
        clock: now, and the sessions of exchanges.
    """
    return next(iter(objections(change, facts, settings, clock)), ALLOWED)


def objections(
    change: ProposedChange, facts: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> tuple[Decision, ...]:
    """Returns what every rule that does not allow a change now says, what decides first; see `decide`."""
    at_once = change.rescue and settings.rescue_anytime
    rules: tuple[Rule, ...] = (*ADVICE_RULES, *(() if at_once else TIME_RULES), *SAFETY_RULES)
    decisions = [decision for rule in rules if (decision := rule(change, facts, settings, clock)) is not None]
    order = ("denied", "approval", "deferred")
    return tuple(sorted(decisions, key=lambda decision: order.index(decision.outcome)))


def passed_over(change: ProposedChange, settings: PolicySettings, clock: PolicyClock) -> tuple[str, ...]:
    """Returns the rules that would have a rescue wait for another time, and do not by `rescue_anytime`."""
    if not (change.rescue and settings.rescue_anytime):
        return ()
    decisions = [rule(change, ApplyFacts(), settings, clock) for rule in TIME_RULES]
    return tuple(decision.rule for decision in decisions if decision is not None)


def denied(rule: str, reason: str) -> Decision:
    """Returns a denial by a rule."""
    return Decision(outcome="denied", rule=rule, reason=reason)


def deferred(rule: str, reason: str, until: datetime | None) -> Decision:
    """Returns a deferral by a rule."""
    return Decision(outcome="deferred", rule=rule, reason=reason, until=until)


def _switched_on(
    change: ProposedChange, _: ApplyFacts, settings: PolicySettings, __: PolicyClock
) -> Decision | None:
    if settings.apply == "off":
        return denied("policy.apply", "Changes are switched off: policy.apply is off.")
    if change.automatic and settings.apply != "auto":
        return denied("policy.apply", "Nothing is applied by itself: policy.apply is manual.")
    return None


def _confident(
    change: ProposedChange, _: ApplyFacts, settings: PolicySettings, __: PolicyClock
) -> Decision | None:
    floor = settings.confidence_floor
    if change.force or change.confidence >= floor:
        return None
    return denied(
        "policy.confidence_floor",
        f"The confidence is {change.confidence:.2f}, below the floor of {floor:.2f}.",
    )


def _automatic_scope(
    change: ProposedChange, _: ApplyFacts, settings: PolicySettings, __: PolicyClock
) -> Decision | None:
    if not change.automatic:
        return None
    if change.service_class not in settings.auto_classes:
        name = change.service_class.value
        return denied("policy.auto_classes", f"Services of class {name} are not changed by themselves.")
    others = [kind.value for kind in change.types if kind not in settings.auto_types]
    if others:
        return denied("policy.auto_types", f"{', '.join(others)} is not applied by itself.")
    outside = directions_of(change.before, change.after) - set(settings.auto_directions)
    if outside:
        return denied("policy.auto_directions", f"It goes {' and '.join(sorted(outside))}.")
    return None


def _in_range(
    change: ProposedChange, _: ApplyFacts, settings: PolicySettings, __: PolicyClock
) -> Decision | None:
    bounds = range_of(change.workload, settings.ranges)
    problem = None if bounds is None else out_of_range(change.after, bounds)
    return denied("policy.ranges", problem) if problem else None


def _not_demoted(
    change: ProposedChange, facts: ApplyFacts, _: PolicySettings, __: PolicyClock
) -> Decision | None:
    key = f"{change.strategy}/{change.strategy_version}/{change.service_class.value}"
    if change.automatic and key in facts.demoted:
        return denied(
            "policy.strategy_floor",
            f"The strategy {change.strategy} {change.strategy_version} is only advice for this class:"
            " what was applied of it was accurate too seldom.",
        )
    return None


def _approved(
    change: ProposedChange, _: ApplyFacts, settings: PolicySettings, __: PolicyClock
) -> Decision | None:
    required = change.requires_approval or (change.automatic and settings.approve_automatic)
    given = {name for name in change.approvals if name != change.requester}
    if not required or len(given) >= settings.approvals:
        return None
    by = change.approval_rules[0] if change.approval_rules else "policy.approve_automatic"
    missing = settings.approvals - len(given)
    return Decision(
        outcome="approval", rule=by, reason=f"It waits for {missing} approval(s) of another principal."
    )


def _not_frozen(
    change: ProposedChange, facts: ApplyFacts, _: PolicySettings, clock: PolicyClock
) -> Decision | None:
    return freeze_decision(change.workload, change.frozen, facts.freezes, clock.now)


def freeze_decision(
    workload: str, by_cluster: str | None, freezes: Iterable[Freeze], now: datetime
) -> Decision | None:
    """Returns what defers every write of a change, its first and any later one; None where nothing does.

    Args:
        workload: that is changed.
        by_cluster: why the cluster itself holds changes back (an annotation or a ConfigMap); None where not.
        freezes: all that were set by the API.
        now: the present instant.
    """
    again = now + _LOOK_AGAIN
    if by_cluster is not None:
        return deferred("freeze.cluster", f"The cluster holds changes back: {by_cluster}.", again)
    for freeze in frozen_by(workload, freezes):
        return deferred(f"freeze[{freeze.scope}]", f"It is frozen: {freeze.reason}.", again)
    return None


def frozen_by(workload: str, freezes: Iterable[Freeze]) -> tuple[Freeze, ...]:
    """Returns the freezes that hold for a workload."""
    return tuple(freeze for freeze in freezes if in_scope(workload, freeze.scope))


def _in_window(
    _: ProposedChange, __: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> Decision | None:
    begins = next_window([WeeklyWindow.parse(text) for text in settings.windows], clock.now)
    if begins is None or begins <= clock.now:
        return None
    return deferred("policy.windows", f"The next change window begins {format_instant(begins)}.", begins)


def _in_rule_window(
    change: ProposedChange, _: ApplyFacts, __: PolicySettings, clock: PolicyClock
) -> Decision | None:
    if not change.allowed_windows or any(w.start <= clock.now < w.end for w in change.allowed_windows):
        return None
    later = min((w.start for w in change.allowed_windows if w.start > clock.now), default=None)
    if later is None:
        return denied("rules.allowed_windows", "The times at which rules allow it are over.")
    return deferred("rules.allowed_windows", f"Rules allow it from {format_instant(later)}.", later)


def _outside_sessions(
    _: ProposedChange, __: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> Decision | None:
    margin = timedelta(minutes=settings.session_margin_minutes)
    for exchange in settings.exchanges:
        sessions = clock.sessions.get(exchange)
        if sessions is None:
            return denied(
                "policy.exchanges",
                f"The sessions of {exchange} are not known: name it by its ISO 10383 code, or leave it out.",
            )
        over = after_session(sessions, clock.now, margin)
        if over is not None:
            reason = f"{exchange} is in session; changes may begin {format_instant(over)}."
            return deferred("policy.exchanges", reason, over)
    return None


def _history(
    change: ProposedChange, facts: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> Iterator[Decision | None]:
    others = tuple(past for past in facts.past if past.job_id != change.job_id)
    yield cooled_down(change, others, settings, clock.now)
    yield tripped(change, others, settings, clock.now)
    yield in_flight_allowed(change, others, settings, clock)
    yield per_hour_allowed(change, others, settings, clock.now)


def _by_history(
    change: ProposedChange, facts: ApplyFacts, settings: PolicySettings, clock: PolicyClock
) -> Decision | None:
    return next(
        (decision for decision in _history(change, facts, settings, clock) if decision is not None), None
    )


ADVICE_RULES: tuple[Rule, ...] = (
    _switched_on,
    _confident,
    _automatic_scope,
    _in_range,
    _not_demoted,
    _approved,
)
"""What the change itself must be."""
TIME_RULES: tuple[Rule, ...] = (_in_window, _in_rule_window, _outside_sessions)
"""When it may begin; what rescues pods that are down need not wait."""
SAFETY_RULES: tuple[Rule, ...] = (_not_frozen, _by_history)
"""What holds for every change."""
