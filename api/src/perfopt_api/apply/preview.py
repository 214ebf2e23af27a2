"""What applying a recommendation would change, and what to know before."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from perfopt.domain.enums import Basis
from perfopt.domain.period import format_instant
from perfopt.domain.quantity import parse_quantity
from perfopt.domain.recommendation import AnalysisWarning, OptimizationRecommendation
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.sizes import number_of, stepped

QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")


def changes_of(recommendation: OptimizationRecommendation) -> dict[str, Any]:
    """Returns the artifact of a dry run: {kind: "diff", workload, changes: [{path, from, to}]}.

    A path is `containers.<name>.<quantity>`, `replicas`, or another key of the state. `from` or `to`
    is null where the quantity is not set before or afterwards.
    """
    before, after = recommendation.current_state, recommendation.recommended_state
    changes = [*_container_changes(before, after), *_other_changes(before, after)]
    return {"kind": "diff", "workload": recommendation.workload, "changes": changes}


def first_step_of(
    recommendation: OptimizationRecommendation, settings: PolicySettings
) -> dict[str, Any] | None:
    """Returns the artifact of the first step towards a recommended state, as the policy lets it be.

    Artifact: {kind: "first_step", workload, steps, changes: [{path, from, to}]}, the changes of sizes and
    replicas that the first of so many steps makes. None where one step reaches the state.

    Args:
        recommendation: to show.
        settings: the policy: largest_step_down and largest_step_up.
    """
    before, after = _sizes(recommendation.current_state), _sizes(recommendation.recommended_state)
    if replicas_change(recommendation) is None:
        after.pop("replicas", None)
    changed = {path: value for path, value in after.items() if not _equal(path, before.get(path), value)}
    first, *further = stepped(before, changed, settings)
    if not further:
        return None
    changes = [{"path": path, "from": before.get(path), "to": value} for path, value in first.items()]
    return {
        "kind": "first_step",
        "workload": recommendation.workload,
        "steps": 1 + len(further),
        "changes": [change for change in changes if change["from"] != change["to"]],
    }


def at_once(steps: int) -> AnalysisWarning:
    """Returns the warning that manifests set at once what policy lets be done in so many steps."""
    message = (
        f"The manifests set the whole recommended state at once; by policy (largest_step_down,"
        f" largest_step_up) it is {steps} steps, each verified before the next."
    )
    return AnalysisWarning(code="full_target", message=message)


def replicas_change(recommendation: OptimizationRecommendation) -> int | None:
    """Returns the new number of replicas where it changes and no autoscaler owns it, else None."""
    before, after = recommendation.current_state, recommendation.recommended_state
    owned = any(state.get(owner) for state in (before, after) for owner in ("hpa", "keda"))
    recommended = after.get("replicas")
    return (
        recommended
        if isinstance(recommended, int) and recommended != before.get("replicas") and not owned
        else None
    )


def outdated(recommendation: OptimizationRecommendation, now: datetime) -> tuple[AnalysisWarning, ...]:
    """Returns why a recommendation no longer holds; nothing while it does."""
    return _those_that_apply(
        (
            recommendation.withdrawn_at,
            "withdrawn",
            "It was refused, or a later analysis recommends nothing of this type.",
        ),
        (
            recommendation.superseded_by,
            "superseded",
            f"A newer recommendation took its place: {recommendation.superseded_by}.",
        ),
        (
            recommendation.valid_until <= now,
            "expired",
            f"It was valid until {format_instant(recommendation.valid_until)}.",
        ),
    )


def held_back(recommendation: OptimizationRecommendation, now: datetime) -> tuple[AnalysisWarning, ...]:
    """Returns what rules ask of whoever applies it, and is not given yet: approval, or another time."""
    later = next((window for window in recommendation.allowed_windows if window.end > now), None)
    waits = bool(recommendation.allowed_windows) and (later is None or later.start > now)
    when = f"from {format_instant(later.start)} to {format_instant(later.end)}" if later else "no longer"
    asking = [rule.reason for rule in recommendation.rules if rule.action == "require_approval"]
    approval = " ".join(("It needs approval before it is applied.", *dict.fromkeys(asking)))
    return _those_that_apply(
        (recommendation.requires_approval, "approval_required", approval),
        (waits, "outside_window", f"Rules allow it to be applied at certain times only: {when}."),
    )


def warnings_of(recommendation: OptimizationRecommendation, now: datetime) -> tuple[AnalysisWarning, ...]:
    """Returns what to know before the change: it is outdated, changes nothing, or is not the last word."""
    state = recommendation.current_state
    owned = _those_that_apply(
        (
            recommendation.already_right,
            "already_right",
            "The current state is right already: nothing needs to change.",
        ),
        (
            state.get("hpa"),
            "hpa_owned",
            "A HorizontalPodAutoscaler owns the replicas: they stay as they are, and a changed CPU request"
            " changes what its utilisation target means.",
        ),
        (
            state.get("keda"),
            "keda_owned",
            "A KEDA ScaledObject owns the replicas: they stay as they are.",
        ),
        (
            str(state.get("vpa_mode") or "Off") != "Off",
            "vpa_owned",
            "A VerticalPodAutoscaler owns the requests and will overwrite the change.",
        ),
        (
            state.get("basis") == Basis.ASSUMED_FROM_LIMIT,
            "assumed_from_limit",
            "The current requests are not known: the limits stand for them.",
        ),
    )
    return (*outdated(recommendation, now), *held_back(recommendation, now), *owned)


def _those_that_apply(*candidates: tuple[Any, str, str]) -> tuple[AnalysisWarning, ...]:
    return tuple(
        AnalysisWarning(code=code, message=message) for applies, code, message in candidates if applies
    )


def _container_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    old, new = before.get("containers", {}), after.get("containers", {})
    for name in [*new, *(name for name in old if name not in new)]:
        for quantity in QUANTITIES:
            was, becomes = old.get(name, {}).get(quantity), new.get(name, {}).get(quantity)
            if not _same(was, becomes):
                yield {"path": f"containers.{name}.{quantity}", "from": was, "to": becomes}


def _other_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ignored = {*QUANTITIES, "containers", "basis"}
    for key in sorted((before.keys() | after.keys()) - ignored):
        if before.get(key) != after.get(key):
            yield {"path": key, "from": before.get(key), "to": after.get(key)}


def _sizes(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the sizes and replicas of a state by their paths, without those that are not set."""
    sizes = {
        f"containers.{name}.{quantity}": quantities.get(quantity)
        for name, quantities in state.get("containers", {}).items()
        for quantity in QUANTITIES
    }
    sizes["replicas"] = state.get("replicas")
    sizes |= {f"hpa.{name}": (state.get("hpa") or {}).get(name) for name in ("min_replicas", "max_replicas")}
    return {path: value for path, value in sizes.items() if value is not None}


def _equal(path: str, was: Any, becomes: Any) -> bool:
    return was is not None and number_of(path, was) == number_of(path, becomes)


def _same(was: str | None, becomes: str | None) -> bool:
    if was is None or becomes is None:
        return was is becomes
    return parse_quantity(was) == parse_quantity(becomes)
