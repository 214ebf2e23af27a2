"""What sizes cost and which to choose: saving against the under-provisioning penalty of a service's class."""

from collections.abc import Sequence

import numpy as np

from perfopt.plugin import Array

ALLOCATION_COST = 8.0
"""What the typical allocation costs, in the unit of under-provisioning penalties."""
UNUSED_COST = 1.0
"""What a recommendation is worth less for each e-fold of size that is expected to lie unused; the more, the
shorter the history."""
_TOLERANCE = 0.25  # of utility, over which sizes count as nearly as good
_EACH = 0.5  # weight of each resource's share of its allocation beside the share of the money


def relative_cost(sizes: Sequence[Array], typical: Sequence[float], prices: Sequence[float]) -> Array:
    """Returns what sizes cost, relative to what containers of such use are typically given.

    Half by money, half by the mean of each resource's own share: money alone would leave the cheaper
    resource at any size. The current limit or request is no part of it.

    Args:
        sizes: of each resource, shape (its sizes,).
        typical: what is typically given of each resource, in the unit of its sizes.
        prices: of a unit of each resource.

    Returns:
        One dimension for each resource; 1 for the typical allocation.
    """
    total = sum(price * given for price, given in zip(prices, typical, strict=True))
    cost = np.zeros(())
    for values, given, price in zip(sizes, typical, prices, strict=True):
        money, own = price * values / total, values / given / len(sizes)
        cost = cost[..., None] + (1 - _EACH) * money + _EACH * own
    return cost


def expected_utility(probability: Array, cost: Array, penalty: float | Array) -> Array:
    """Returns what sizes are worth: the penalty avoided, less the cost.

    Args:
        probability: that the sizes are accurate.
        cost: `relative_cost`.
        penalty: of a violated recommendation, one or of the shape of the probabilities.
    """
    utility: Array = penalty * probability - ALLOCATION_COST * cost
    return utility


def weights(utility: Array, beforehand: Sequence[Array] = ()) -> Array:
    """Returns how much each pair of sizes counts in the recommended one: a Gibbs distribution of the utility.

    Sizes that are worth nearly as much are averaged, so that the recommended one moves little where the
    history does; the one of highest utility alone may jump. A shortage of either resource violates the
    recommendation, so risk is taken where it saves most.

    Args:
        utility: expected, one dimension for each resource.
        beforehand: logarithm of how much each size of a resource counts before its utility, one a dimension.

    Returns:
        Shape of the utility; the sum is 1.
    """
    logs = utility / _TOLERANCE
    for axis, own in enumerate(beforehand):
        logs = logs + own.reshape([-1 if other == axis else 1 for other in range(utility.ndim)])
    exponent = np.exp(logs - logs.max())
    share: Array = exponent / exponent.sum()
    return share
