"""Request and utilisation target of an HPA, solved together.

An HPA on CPU utilisation adds a replica when one uses more than request × target. That product, in cores, is
what decides how many replicas run; the request alone decides what they reserve. A policy that fits the
request to what a pod uses, and leaves the target, lowers the product each time: more replicas, less use in
each, a smaller request again, up to the maximum (KRR #80, VPA #8493). Here the product is kept.
"""

from dataclasses import dataclass

SMALL_MOVE = 0.1


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """A request with its target.

    Attributes:
        request_cores: of one replica.
        target: share of the request that an HPA aims at.
    """

    request_cores: float
    target: float

    @property
    def load_cores(self) -> float:
        """What one replica uses where the HPA holds it."""
        return self.request_cores * self.target


def solve(
    request_cores: float,
    target_now: float | None,
    target_wanted: float,
    most_load_cores: float | None = None,
    *,
    hold_request: bool = False,
) -> RequestTarget:
    """Returns the request and target to set.

    Where an HPA would let a replica carry less of its request than it could, the request falls and the target
    rises: as many replicas as now reserve less. A load that must be lower is more replicas, never fewer.

    Args:
        request_cores: of one replica now.
        target_now: of the HPA, or None where there is none on CPU.
        target_wanted: the highest at which demand can still grow while a replica starts.
        most_load_cores: what a replica carries within its latency objective; None is no bound.
        hold_request: something else may decide how many replicas run, so the request must not fall.
    """
    load = request_cores * (target_wanted if target_now is None else min(target_now, target_wanted))
    if most_load_cores is not None:
        load = min(load, most_load_cores)
    smaller = load / target_wanted
    if hold_request or target_now is None or smaller > request_cores * (1 - SMALL_MOVE):
        return RequestTarget(request_cores, load / request_cores)
    return RequestTarget(smaller, target_wanted)
