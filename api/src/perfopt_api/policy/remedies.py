"""What a person can do about each rule of policy that holds a change back."""

from collections.abc import Mapping

_SETTING = "Change the setting `{rule}`, or {otherwise}."

_OTHERWISE: Mapping[str, str] = {
    "policy.apply": "export the change (mode export) and make it by hand",
    "policy.confidence_floor": "apply it with force",
    "policy.auto_classes": "apply it by hand",
    "policy.auto_types": "apply it by hand",
    "policy.auto_directions": "apply it by hand",
    "policy.strategy_floor": "apply it by hand",
    "policy.ranges": "recommend within the range by a rule that caps",
    "policy.windows": "wait for the window",
    "policy.exchanges": "wait for the end of the session",
    "policy.cooldown_minutes": "wait",
    "policy.max_in_flight": "wait for one of them to end",
    "policy.max_in_flight_namespace": "wait for one of them to end",
    "policy.max_per_hour": "wait for the next hour",
    "policy.max_per_hour_namespace": "wait for the next hour",
    "policy.settle_minutes": "wait",
    "policy.error_budget_left": "wait until old errors leave the budget's days",
}
_OTHER: Mapping[str, str] = {
    "policy.approve_automatic": "Another principal approves it: `perfopt approve JOB`.",
    "policy.breaker_failures": "Find out why they were rolled back; or raise `policy.breaker_failures`.",
    "policy.blast_radius": "It goes on by itself; `policy.max_in_flight` and `policy.max_per_hour` widen it.",
    "freeze.cluster": "Remove the namespace's annotation perfopt.io/freeze, or its key of perfopt-freeze.",
    "rules.allowed_windows": "Wait for the rule's window, or change the rule.",
    "gates.rollout": "It goes on when the rollout is complete; one that is stuck needs a person.",
    "gates.pods_not_ready": "Mend these pods; where none serves, what of a change raises goes first.",
    "gates.suspended": "Resume the CronJob; or export the change.",
    "gates.memory_peak": "Analyse again, which counts this peak in; or lower `policy.memory_margin`.",
    "gates.heap": "Apply the plan with the heap's setting (PERFORMANCE_TUNING) in one change.",
    "verification.series": "Have the metric source of `policy.cluster` scrape them.",
}


def remedy_of(rule: str) -> str:
    """Returns what a person can do where a rule holds a change back; empty where it is not one of ours."""
    if rule in _OTHERWISE:
        return _SETTING.format(rule=rule, otherwise=_OTHERWISE[rule])
    if rule.startswith("freeze["):
        return f"Lift it: `perfopt unfreeze {rule[len('freeze[') : -1]}`."
    if rule.startswith("hooks.gates."):
        return "Ask whoever answers at that gate."
    return _OTHER.get(rule, "")
