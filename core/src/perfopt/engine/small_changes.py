"""Takes changes out of a proposal that are too small to restart pods for. Pure."""

from datetime import timedelta
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import (
    BASIS,
    KNOB_SETTINGS,
    QUANTITIES,
    REQUEST_LIMIT_PAIRS,
    Path,
    all_fields,
    container_path,
    diff,
    label,
    print_value,
    with_fields,
)
from perfopt.domain.recommendation import Reason
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.plan.text import moves
from perfopt.plugin.strategy import Proposal

SMALLEST_FALL = 0.1
"""Of a request or limit: what falls by no more stays. So small a saving is not worth a restart."""
SMALLEST_RISE = 0.02
"""Of a CPU limit: what rises by no more stays, and a request above it becomes the limit. Measurements do not
tell the two apart, and CPU above a limit waits; memory above one is killed, so memory always rises."""
CODE = "small_change"
# a step of a search is small by design
_EXEMPT = frozenset({OptimizationType.PERFORMANCE_TUNING})


def without_small_changes(proposal: Proposal, current: WorkloadState, validity: timedelta) -> Proposal:
    """Returns a proposal in which quantities that would hardly change stay as they are, with the reason.

    Args:
        proposal: of a strategy, checked.
        current: the state that it was made for.
        validity: how long it must hold, for its description.
    """
    if proposal.optimization_type in _EXEMPT or proposal.target == current:
        return proposal
    values: dict[Path, Any] = {}
    for proposed in proposal.target.containers:
        container = current.container(proposed.name)
        if container is not None:
            values |= _held(container, proposed)
    if not values:
        return proposal
    target = with_fields(proposal.target, values)
    unchanged = msgspec.structs.replace(target, basis=current.basis) == current
    held = ", ".join(f"{label(path)} {print_value(path, value)}" for path, value in values.items())
    left = f"A small change is left out: {held} stays."
    return msgspec.structs.replace(
        proposal,
        target=current if unchanged else target,
        description=f"{'No change needed' if unchanged else _moves(current, target, validity)}. {left}",
        reasons=(*proposal.reasons, _reason(proposal.target, values, held)),
        no_change_needed=unchanged,
    )


def _moves(current: WorkloadState, target: WorkloadState, validity: timedelta) -> str:
    changes = {
        path: value
        for path, value in diff(current, target).items()
        if path != BASIS and path[0] != KNOB_SETTINGS
    }
    return moves(changes, all_fields(current), validity)


def _held(current: Container, proposed: Container) -> dict[Path, Any]:
    """Returns the quantities of a container that stay, and those that must follow for request <= limit."""
    sizes = {quantity: getattr(proposed, quantity) for quantity in QUANTITIES}
    for quantity, value in sizes.items():
        before = getattr(current, quantity)
        if before and value is not None and _is_small(quantity, before, value):
            sizes[quantity] = before
    for request, limit in REQUEST_LIMIT_PAIRS:
        if sizes[request] is not None and sizes[limit] is not None and sizes[request] > sizes[limit]:
            rising = sizes[limit] == getattr(current, limit) and getattr(proposed, limit) > sizes[limit]
            follower, leader = (request, limit) if rising else (limit, request)
            sizes[follower] = sizes[leader]
    return {
        container_path(proposed.name, quantity): value
        for quantity, value in sizes.items()
        if value != getattr(proposed, quantity)
    }


def _is_small(quantity: str, before: float, value: float) -> bool:
    if value > before:
        return quantity == "cpu_limit_cores" and value <= (1 + SMALLEST_RISE) * before * (1 + 1e-9)
    return value < before and value >= (1 - SMALLEST_FALL) * before * (1 - 1e-9)


def _reason(proposed: WorkloadState, values: dict[Path, Any], held: str) -> Reason:
    fields = all_fields(proposed)
    data = {
        label(path): {"proposed": print_value(path, fields.get(path)), "kept": print_value(path, value)}
        for path, value in values.items()
    }
    fall, rise = 100 * SMALLEST_FALL, 100 * SMALLEST_RISE
    text = (
        f"{held} stays: a fall of {fall:.0f} % or less, or a rise of a CPU limit by {rise:.0f} % or less,"
        " is not worth a restart."
    )
    return Reason(code=CODE, text=text, data=data)
