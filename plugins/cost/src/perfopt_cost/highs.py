"""The optimization model of perfopt_cost.milp as matrices for HiGHS."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import coo_array

from perfopt.plugin import Array
from perfopt_cost.milp import MilpSolution, OptimizationModel, gap_of


def solve_by_highs(model: OptimizationModel, time_limit: float) -> MilpSolution | None:
    """Solves a model by branch and cut; None where HiGHS found no answer in time.

    Args:
        model: what to solve.
        time_limit: seconds; what was found by then is returned with its gap.
    """
    pairs = np.argwhere(np.isfinite(model.demand_price))
    if not len(pairs):
        return None
    demand = model.demand_price[pairs[:, 0], pairs[:, 1]]
    spot = model.spot_price[pairs[:, 0], pairs[:, 1]]
    saving = np.where(np.isfinite(spot), demand - spot, 0.0)
    periods = model.hours.size
    cost = np.concatenate(
        [
            np.zeros(len(pairs)),
            np.outer(model.hours, demand).ravel(),
            -np.outer(model.hours, saving).ravel(),
        ]
    )
    result = milp(
        cost,
        constraints=_constraints(model, pairs),
        integrality=np.ones(cost.size),
        bounds=_bounds(model, len(pairs), spot),
        options={"time_limit": time_limit},
    )
    return None if result.x is None else _solution(model, result, pairs, periods)


def _bounds(model: OptimizationModel, pairs: int, spot: Array) -> Bounds:
    replicas = np.full(model.hours.size * pairs, float(model.most))
    on_spot = np.tile(np.where(np.isfinite(spot), float(model.most), 0.0), model.hours.size)
    return Bounds(0.0, np.concatenate([np.ones(pairs), replicas, on_spot]))


def _constraints(model: OptimizationModel, pairs: NDArray[Any]) -> list[LinearConstraint]:
    """Returns one choice, and for each period and pair x >= least y, x <= most y and the two limits of z."""
    n, s = len(pairs), model.hours.size
    y = np.tile(np.arange(n), s)
    x, z = n + np.arange(s * n), n + s * n + np.arange(s * n)
    least = model.least[:, pairs[:, 0]].ravel()
    ones, rows, width = np.ones(s * n), np.arange(s * n), n + 2 * s * n

    def rows_of(*terms: tuple[NDArray[Any], Array]) -> coo_array:
        columns = np.concatenate([column for column, _ in terms])
        values = np.concatenate([value for _, value in terms])
        return coo_array((values, (np.tile(rows, len(terms)), columns)), shape=(s * n, width))

    choice = coo_array((np.ones(n), (np.zeros(n, np.int64), np.arange(n))), shape=(1, width))
    return [
        LinearConstraint(choice, 1, 1),
        LinearConstraint(rows_of((x, ones), (y, -least)), lb=0),
        LinearConstraint(rows_of((x, ones), (y, -ones * model.most)), ub=0),
        LinearConstraint(rows_of((z, ones), (x, -ones * model.spot_share)), ub=0),
        LinearConstraint(rows_of((z, ones), (x, -ones), (y, ones * model.steady)), ub=0),
    ]


def _solution(
    model: OptimizationModel, result: OptimizeResult, pairs: NDArray[Any], periods: int
) -> MilpSolution:
    values = np.round(result.x)
    n = len(pairs)
    chosen = int(values[:n].argmax())
    replicas = values[n : n + periods * n].reshape(periods, n)[:, chosen]
    spot = values[n + periods * n :].reshape(periods, n)[:, chosen]
    return MilpSolution(
        size=int(pairs[chosen, 0]),
        place=int(pairs[chosen, 1]),
        replicas=tuple(int(count) for count in replicas),
        spot=tuple(int(count) for count in spot),
        cost=float(result.fun),
        gap=gap_of(float(result.fun), result.mip_dual_bound),
        method="highs",
        combinations=n,
    )
