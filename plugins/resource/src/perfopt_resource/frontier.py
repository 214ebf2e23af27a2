"""What a pod would cost, and how probably it would be accurate, at other under-provisioning penalties."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perfopt.plugin import Container, PriceBook, Reason, WorkloadState
from perfopt_resource.model.sizing_model import SizeChoice, SizingResult
from perfopt_resource.sizing import whole_mebibytes

_SENTENCE_POINTS = 3


class TradePoint(NamedTuple):
    """What a pod would cost at other sizes.

    Attributes:
        cost_change_percent: against the current cost, or the recommended one.
        containers: with these sizes.
    """

    cost_change_percent: float
    containers: tuple[Container, ...]


def frontier(
    sizings: Mapping[str, SizingResult], target: WorkloadState, state: WorkloadState, book: PriceBook
) -> Reason | None:
    """Returns the trade around a recommendation, from cheap to safe; None where costs are not known.

    The points are what the model sizes at other costs of a shortage, before the rules of the strategy.
    Their cost is set against the current one where it is known, or against what is recommended.

    Args:
        sizings: of all containers, by name.
        target: what is recommended.
        state: what there is.
        book: the prices.
    """
    current, recommended = book.monthly_cost(state), book.monthly_cost(target)
    points: dict[float, TradePoint] = {}
    for choices in zip(*(sizing.frontier for sizing in sizings.values()), strict=True):
        pod = _pod(dict(zip(sizings, choices, strict=True)), state)
        cost = book.monthly_cost(pod)
        against = current or recommended
        if cost is None or not against:
            return None
        confidence = round(math.prod(choice.confidence for choice in choices), 2)
        point = TradePoint(round(100 * (cost / against - 1), 1), pod.containers)
        points[confidence] = min(
            points.get(confidence, point), point, key=lambda one: one.cost_change_percent
        )
    basis = "current" if current else "recommended"
    return _reason(sorted(points.items()), basis)


def _cost_change(point: TradePoint) -> float:
    return point.cost_change_percent


def _pod(choices: Mapping[str, SizeChoice], state: WorkloadState) -> WorkloadState:
    containers = tuple(
        Container(
            name=name,
            cpu_request_cores=choice.cpu_cores,
            memory_request_bytes=None
            if choice.memory_bytes is None
            else whole_mebibytes(choice.memory_bytes),
        )
        for name, choice in choices.items()
    )
    return WorkloadState(containers=containers, replicas=state.replicas, init=state.init)


def _reason(points: Sequence[tuple[float, TradePoint]], basis: str) -> Reason | None:
    if not points:
        return None
    spread = {round(i * (len(points) - 1) / (_SENTENCE_POINTS - 1)) for i in range(_SENTENCE_POINTS)}
    shown = "; ".join(
        f"{points[i][1].cost_change_percent:+.0f} % cost at {points[i][0]:.2f} confidence"
        for i in sorted(spread)
    )
    return Reason(
        code="frontier",
        text=f"Other trades of cost against confidence, relative to the {basis} cost: {shown}.",
        data={
            "relative_to": basis,
            "points": [
                {
                    "confidence": confidence,
                    "cost_change_percent": point.cost_change_percent,
                    "containers": {one.name: one.to_map() for one in point.containers},
                }
                for confidence, point in points
            ],
        },
    )
