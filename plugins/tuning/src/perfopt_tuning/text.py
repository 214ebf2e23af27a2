"""The sentences on a whole workload."""

from collections.abc import Sequence

from perfopt_tuning.knobs.decide import KnobDecision
from perfopt_tuning.knobs.values import shown


def change(service: str, decisions: Sequence[tuple[str, KnobDecision]]) -> str:
    """Returns what to set: one sentence an operator can act on."""
    parts = [
        f"{decision.knob.entry.title} to {shown(decision.knob, decision.value)} in {container}"
        for container, decision in decisions
        if decision.value is not None
    ]
    return f"Set {'; '.join(parts)} of {service}. Takes effect when its pods restart."


def no_change(service: str, decisions: Sequence[tuple[str, KnobDecision]]) -> str:
    """Says that everything that can be decisions is right."""
    titles = dict.fromkeys(decision.knob.entry.title for _, decision in decisions if decision.no_change)
    return f"No change needed in the runtime settings of {service}: {', '.join(titles)}."


def nothing_known(service: str) -> str:
    """Returns that no runtime was recognised."""
    return (
        f"The runtime of {service} is unknown: image, environment, command line and metrics do not show it."
        " State it by the annotation perfopt.io/runtime (go1.24, jvm21, node22, gunicorn, ...)."
    )


def nothing_decided(decisions: Sequence[tuple[str, KnobDecision]]) -> str:
    """Says why none of the knobs could be decisions."""
    return " ".join(decision.reason.text for _, decision in decisions)
