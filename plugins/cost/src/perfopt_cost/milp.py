"""The cheapest size, replicas, node type, spot share and schedule: a mixed-integer linear model.

    minimise    Σ_s hours_s Σ_ij ( demand_price_ij (x_sij - z_sij) + spot_price_ij z_sij )
    subject to  Σ_ij y_ij = 1                      one size i on one place j
                least_si y_ij <= x_sij <= most y_ij   replicas that carry period s with pods of size i
                z_sij <= spot_share x_sij             as many of them as may run on spot
                z_sij <= x_sij - steady y_ij          and so many that must not
                y binary, x and z integer

i runs over sizes, j over places (node types), s over the periods of the schedule. A place that a size does
not fit has no price and no variables.

`perfopt_cost.solver.solve` has two ways to the same answer. Given (i, j) the periods are independent, and
each period's cost rises with x: one replica more costs at least min(demand_price, spot_price) >= 0, since it
lets at most one more run on spot. So x = least and z = floor(min(spot_share x, x - steady)), or 0 where spot
is not cheaper, are optimal, and the model is solved exactly by looking at every pair (i, j). Where there are
more pairs than `perfopt_cost.solver.MAX_ENUMERATED` it is handed to HiGHS (Huangfu and Hall 2018;
scipy.optimize.milp) with a time limit, and the gap that remains is stated. Both are tested to agree with each
other and with brute force.
"""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class OptimizationModel:
    """A model over I sizes, J places and S periods.

    Attributes:
        hours: of each period, shape (S,).
        least: replicas that carry each period with pods of a size, at least 1 and `steady`, shape (S, I).
        demand_price: of one replica for one hour on demand, shape (I, J); NaN where it does not fit.
        spot_price: the same on spot; NaN where there is none.
        most: replicas at most.
        spot_share: of the replicas, at most, in [0, 1].
        steady: replicas that must run on demand.
    """

    hours: Array
    least: Array
    demand_price: Array
    spot_price: Array
    most: int
    spot_share: float
    steady: int


@dataclass(frozen=True, slots=True)
class MilpSolution:
    """An answer.

    Attributes:
        size, place: which.
        replicas, spot: by period, shape (S,).
        cost: over the hours of the model.
        gap: (cost - proven bound) / cost; 0 is proven optimal.
        method: "enumerated" or "highs".
        combinations: pairs of size and place there were.
    """

    size: int
    place: int
    replicas: tuple[int, ...]
    spot: tuple[int, ...]
    cost: float
    gap: float
    method: str
    combinations: int


def enumerate_pairs(model: OptimizationModel) -> MilpSolution | None:
    """Solves a model exactly, by the argument at the top of this module."""
    replicas, spot = model.least, _most_spot(model)
    on_demand, on_spot = model.demand_price, model.spot_price
    demand_hours = model.hours @ replicas  # (I,)
    spot_hours = model.hours @ spot
    saving = np.where(np.isfinite(on_spot), np.maximum(on_demand - on_spot, 0.0), 0.0)
    cost = demand_hours[:, None] * on_demand - spot_hours[:, None] * saving
    cost[(model.least > model.most).any(axis=0)] = np.nan
    if not np.isfinite(cost).any():
        return None
    size, place = divmod(int(np.nanargmin(cost)), cost.shape[1])
    cheaper = saving[size, place] > 0
    return MilpSolution(
        size=size,
        place=place,
        replicas=tuple(int(count) for count in replicas[:, size]),
        spot=tuple(int(count) if cheaper else 0 for count in spot[:, size]),
        cost=float(cost[size, place]),
        gap=0.0,
        method="enumerated",
        combinations=int(np.isfinite(cost).sum()),
    )


def _most_spot(model: OptimizationModel) -> Array:
    allowed = np.minimum(np.floor(model.spot_share * model.least + _ROUNDING), model.least - model.steady)
    return np.maximum(allowed, 0.0)


def gap_of(cost: float, bound: float | None) -> float:
    """Returns the relative distance of a cost from a proven bound, never negative; 1 without a bound."""
    if bound is None or not math.isfinite(bound):
        return 1.0
    return max(cost - bound, 0.0) / cost if cost > 0 else 0.0
