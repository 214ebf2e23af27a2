"""Series of the highest value in each block of a history."""

from datetime import timedelta

import numpy as np

from perfopt.metrics.snapshot import Array, TimeGrid


def highest_in_blocks(values: Array, grid: TimeGrid, length: timedelta) -> tuple[Array, TimeGrid]:
    """Returns the highest value in each whole block of a history, and their grid; they end with the history.

    Args:
        values: shape (grid.size,), NaN where missing.
        grid: of the values.
        length: of a block, in whole steps; less than a step is a step.
    """
    per_block = max(length // grid.step, 1)
    count = grid.size // per_block
    highest = np.fmax.reduce(values[values.size - count * per_block :].reshape(-1, per_block), axis=1)
    step = per_block * grid.step
    return highest, TimeGrid(grid.end - count * step, step, count)
