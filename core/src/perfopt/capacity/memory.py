"""Memory of a pod at another load than it had."""

import numpy as np

from perfopt.metrics.snapshot import Array


def memory_at_load(least: float, used: Array | float, load: Array | float) -> Array:
    """Returns the memory of a pod at so many times its load, bytes; shapes broadcast.

    least + (used - least) × load: what it holds at least does not grow with the load.

    Args:
        least: the least ever held, bytes.
        used: at the present load, bytes.
        load: relative to now; below 1 counts as 1, as processes seldom give memory back.
    """
    grown: Array = np.asarray(least + (used - least) * np.maximum(load, 1.0))
    return grown
