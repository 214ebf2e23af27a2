"""The sentences on a whole workload."""

from collections.abc import Sequence

from perfopt_tuning.knobs.decide import Decision
from perfopt_tuning.knobs.values import shown


def change(service: str, decisions: Sequence[tuple[str, Decision]]) -> str:
    """Says what to set: one sentence an operator can act on."""
    parts = [
        f"{decision.knob.entry.title} to {shown(decision.knob, decision.value)} in {container}"
        for container, decision in decisions
        if decision.value is not None
    ]
    return f"Set {'; '.join(parts)} of {service}: takes effect when its pods restart."


def right(service: str, decisions: Sequence[tuple[str, Decision]]) -> str:
    """Says that everything that can be judged is right."""
    titles = dict.fromkeys(decision.knob.entry.title for _, decision in decisions if decision.right)
    verb = "is" if len(titles) == 1 else "are"
    return f"Keep the runtime settings of {service} as they are: {', '.join(titles)} {verb} right."


def nothing_known(service: str) -> str:
    """Says that no runtime was recognised."""
    return (
        f"No runtime of {service} is known: neither image, environment, command line nor metrics tell."
        " State it as the annotation perfopt.io/runtime (go1.24, jvm21, node22, gunicorn, ...)."
    )


def nothing_judged(decisions: Sequence[tuple[str, Decision]]) -> str:
    """Says why none of the knobs could be judged."""
    return " ".join(decision.reason.text for _, decision in decisions)
