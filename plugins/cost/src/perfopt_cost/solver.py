"""Chooses the way to solve an optimization model: by enumeration, or by HiGHS where it is large."""

from perfopt_cost.milp import MilpSolution, OptimizationModel, enumerate_pairs

MAX_ENUMERATED = 100_000
TIME_LIMIT_SECONDS = 2.0


def solve(
    model: OptimizationModel, *, enumerated_most: int = MAX_ENUMERATED, time_limit: float = TIME_LIMIT_SECONDS
) -> MilpSolution | None:
    """Returns the cheapest combination; None where no size fits, or none was found in time.

    Args:
        model: what to solve.
        enumerated_most: pairs of size and place that are looked at one by one; above, HiGHS.
        time_limit: for HiGHS, seconds.
    """
    if model.demand_price.size <= enumerated_most:
        return enumerate_pairs(model)
    from perfopt_cost.highs import solve_by_highs  # scipy's import takes longer than what is done here

    return solve_by_highs(model, time_limit)
