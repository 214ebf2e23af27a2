"""Which changes bring a fleet's nodes within a budget at the least risk: a mixed-integer model.

    minimise    Σ_w risk_w x_w
    subject to  Σ_n cores_n y_n  >= Σ_w (1 - x_w) cpu_w + x_w cpu'_w        and memory alike
                Σ_n price_n y_n  <= budget
                x binary: workload w is changed as recommended;  y integer: nodes of type n

Nodes come whole and are shared, so no workload can be decided by itself: HiGHS (Huangfu and Hall 2018, by
scipy.optimize.milp) solves it by branch and cut within a time limit. The model knows only what nodes
hold in total; a packing of what it chose is the proof, and where that costs more than the budget the
model is solved again with less. The bound of the first solution holds for all: packing is narrower.
"""

import ctypes
import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.price import NodeType
from perfopt.errors import InvalidInputError
from perfopt.fleet.packing import NodePacking, pack
from perfopt.fleet.pods import PodGroup

ROUNDS = 3
_GAP = 1e-3  # of the model, which packing widens anyway
_MAX_REMOVALS, _REMOVAL_PODS = 32, 3000  # changes tried to be left out, each by a packing of all workloads
_INFEASIBLE = 2  # of scipy's OptimizeResult.status
_ROUNDING = 1e-9
_ONE_AT_A_TIME = threading.Lock()

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChangeOption:
    """What may become of a workload.

    Attributes:
        before, after: its pods as they are and as recommended.
        risk: of the change, in money.
        settled: it is changed whatever the budget is.
    """

    before: PodGroup
    after: PodGroup
    risk: float
    settled: bool = False


@dataclass(frozen=True, slots=True)
class ChosenChanges:
    """What is changed.

    Attributes:
        changed: of each option, whether it is.
        packing: of the pods with the changes.
        risk: of the changes that are not settled.
        gap: (risk - proven bound) / risk; 0 is proven least.
    """

    changed: tuple[bool, ...]
    packing: NodePacking
    risk: float
    gap: float


class NoTimeError(InvalidInputError):
    """HiGHS found nothing within its time limit. HTTP 400."""

    code = "no_time"


def least_risk(
    nodes: Sequence[NodeType], options: Sequence[ChangeOption], budget_hour: float, time_limit: float
) -> ChosenChanges | None:
    """Returns what to change so that nodes cost no more than a budget; None where no choice was found to.

    Args:
        nodes: types with their room for pods.
        options: one a workload; each side must fit one of the types.
        budget_hour: price of all nodes for an hour, at most.
        time_limit: seconds for each solution of the model.

    Raises:
        NoTimeError: nothing was found within the time limit.
        InvalidInputError: scipy is not installed.
    """
    solved = _solve(nodes, options, budget_hour, time_limit)
    if solved is None:
        return None
    target, bound, best = budget_hour, solved[1], (True,) * len(options)
    high, low = budget_hour, None  # the least that packed dearer than the budget, the most that did not
    for _ in range(ROUNDS):
        over = -1.0 if solved is None else _packed(nodes, options, solved[0]).price_hour - budget_hour
        if solved is not None and over <= _ROUNDING:
            best = min(best, solved[0], key=lambda changed: _risk(options, changed))
        if solved is not None and over > _ROUNDING:
            high = target
        elif target == budget_hour:
            break
        else:
            low = target
        target = high - max(over, 0.0) if low is None else (low + high) / 2
        solved = _solve(nodes, options, target, time_limit) if target > 0 else None
    if _packed(nodes, options, best).price_hour > budget_hour + _ROUNDING:
        return None
    return _without_redundant(nodes, options, budget_hour, best, bound)


def _risk(options: Sequence[ChangeOption], changed: Sequence[bool]) -> float:
    return sum(one.risk for one, taken in zip(options, changed, strict=True) if taken and not one.settled)


def _packed(
    nodes: Sequence[NodeType], options: Sequence[ChangeOption], changed: Sequence[bool]
) -> NodePacking:
    return pack(
        nodes, [one.after if taken else one.before for one, taken in zip(options, changed, strict=True)]
    )


def _without_redundant(
    nodes: Sequence[NodeType],
    options: Sequence[ChangeOption],
    budget_hour: float,
    changed: tuple[bool, ...],
    bound: float,
) -> ChosenChanges:
    """Leaves out changes that the packing can do without, the riskiest first."""
    packing = _packed(nodes, options, changed)
    taken = [
        index
        for index, one in enumerate(options)
        if changed[index] and not one.settled and one.before != one.after
    ]
    tries = min(_MAX_REMOVALS, _REMOVAL_PODS // max(len(options), 1))
    for index in sorted(taken, key=lambda index: -options[index].risk)[:tries]:
        fewer = (*changed[:index], False, *changed[index + 1 :])
        tried = _packed(nodes, options, fewer)
        if tried.price_hour <= budget_hour + _ROUNDING:
            changed, packing = fewer, tried
    risk = _risk(options, changed)
    gap = (risk - bound) / risk if risk > _ROUNDING else 0.0
    return ChosenChanges(changed, packing, risk, min(max(gap, 0.0), 1.0))


def _solve(
    nodes: Sequence[NodeType], options: Sequence[ChangeOption], budget_hour: float, time_limit: float
) -> tuple[tuple[bool, ...], float] | None:
    """Returns what is changed and a proven lower bound of its risk; None where nothing is feasible."""
    optimize = _scipy()
    count, types = len(options), len(nodes)
    lower = np.concatenate([[float(one.settled) for one in options], np.zeros(types)])
    risks = np.array([0.0 if one.settled else one.risk for one in options])
    rows, least = _rows(nodes, options)
    prices = np.array([node.price_hour for node in nodes])
    within = optimize.LinearConstraint(np.concatenate([np.zeros(count), prices])[None], ub=budget_hour)
    with _printing_aside():
        result = optimize.milp(
            np.concatenate([risks, np.zeros(types)]),
            constraints=[optimize.LinearConstraint(rows, lb=least), within],
            integrality=np.ones(count + types),
            bounds=optimize.Bounds(lower, np.concatenate([np.ones(count), np.full(types, np.inf)])),
            options={"time_limit": time_limit, "mip_rel_gap": _GAP},
        )
    if result.status == _INFEASIBLE:
        return None
    if result.x is None:
        raise NoTimeError(
            f"No choice within the budget was found in {time_limit:g} s.",
            field="time_limit",
            remedy="Give it more time.",
        )
    bound = result.mip_dual_bound
    known = 0.0 if bound is None or not math.isfinite(bound) else max(float(bound), 0.0)
    return tuple(bool(value > 0.5) for value in result.x[:count]), known


@contextmanager
def _printing_aside() -> Iterator[None]:
    """HiGHS prints some warnings to standard output, where a table or JSON is read: they go to stderr.

    One solution at a time: the descriptor is the process's.
    """
    with _ONE_AT_A_TIME:
        sys.stdout.flush()
        saved = os.dup(1)
        os.dup2(2, 1)
        try:
            yield
        finally:
            ctypes.CDLL(None).fflush(None)
            os.dup2(saved, 1)
            os.close(saved)


def _rows(nodes: Sequence[NodeType], options: Sequence[ChangeOption]) -> tuple[Floats, Floats]:
    """Returns cores and memory (in GiB) that nodes and changes give, and what is needed without any."""
    before = np.array([_needs(one.before) for one in options]).reshape(-1, 2)
    after = np.array([_needs(one.after) for one in options]).reshape(-1, 2)
    rooms = np.array([(node.cores, node.memory_bytes / 2**30) for node in nodes]).reshape(-1, 2)
    return np.concatenate([before - after, rooms]).T, before.sum(axis=0)


def _needs(group: PodGroup) -> tuple[float, float]:
    return group.count * group.cpu_cores, group.count * group.memory_bytes / 2**30


def _scipy() -> Any:
    try:
        return import_module("scipy.optimize")
    except ImportError as error:
        raise InvalidInputError(
            "A budget is met by HiGHS, which comes with scipy, and that is not installed.",
            field="budget",
            remedy="Install perfopt[fleet].",
        ) from error
