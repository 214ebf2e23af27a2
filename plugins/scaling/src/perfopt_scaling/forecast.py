"""The forecast of a workload's total CPU demand, and how far it can be trusted."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from perfopt.plugin import Array, Forecast, ForecastSpec, TimeGrid

DAY = timedelta(days=1)
MAX_RECENT_EXCEEDANCE = 0.15  # of recent blocks above what 98 in 100 should stay below
MAX_WIDTH = 3.0  # times the expected demand
_JUDGED_LEVEL = 0.98
_ENOUGH = 0.99
_OFFSET = 0.05  # of the mean: what is small beside it is alike
TOTAL_DEMAND = ForecastSpec(
    name="total_cpu_cores",
    metric="cpu_cores",
    of="total",
    block=timedelta(minutes=30),
    levels=(0.05, 0.25, 0.5, 0.75, 0.95, _JUDGED_LEVEL, 0.99, 0.998),
    forecasters=("daily-profile",),
    past=True,
)


@dataclass(frozen=True, slots=True)
class DemandForecast:
    """What future blocks will need, in cores; a block's need is its highest step.

    Attributes:
        forecast: of each block.
        offset: added to demand before a ratio is taken, in cores.
        steps: of the history's grid in a block.
    """

    forecast: Forecast
    offset: float
    steps: int

    @classmethod
    def of(cls, forecast: Forecast, cores: Array, grid: TimeGrid) -> "DemandForecast":
        """Returns the forecast beside the history that it is from."""
        offset = max(_OFFSET * float(np.nanmean(cores)), 1e-6)
        return cls(forecast, offset, max(forecast.grid.step // grid.step, 1))

    @property
    def expected(self) -> Array:
        """The expected need of each block, shape (blocks,)."""
        return self.forecast.expected

    @property
    def block(self) -> timedelta:
        """Length of a block."""
        return self.forecast.grid.step

    @property
    def recent_exceedance(self) -> float:
        """Share of the blocks of the last two days above what 98 in 100 should have stayed below."""
        return self.forecast.recent_exceedance or 0.0

    def quantile(self, level: float) -> Array:
        """Returns what a block stays below with this probability, shape (blocks,)."""
        return self.forecast.quantile(level)

    def width(self, level: float) -> float:
        """Returns the largest ratio of a quantile to the expected need over the blocks."""
        return float(((self.quantile(level) + self.offset) / (self.expected + self.offset)).max())

    def planned_past(self, level: float, size: int) -> Array:
        """Returns what a plan at a quantile would have provided on the last steps of the history.

        Zero where the past was too short to plan from; shape (size,).
        """
        steps = np.repeat(np.nan_to_num(self.forecast.past_quantile(level)), self.steps)[-size:]
        planned: Array = np.r_[np.zeros(size - steps.size), steps]
        return planned

    @property
    def trusted(self) -> bool:
        """Whether the shape of days has been right lately, and says more than the level."""
        width = self.width(_JUDGED_LEVEL)
        return self.recent_exceedance <= MAX_RECENT_EXCEEDANCE and width <= MAX_WIDTH * (1 + 1e-9)


def windows_need(cores: Array, grid: TimeGrid, validity: timedelta, share: float) -> float:
    """Returns what would have been enough in this share of past stretches as long as the validity, in cores.

    Enough is what 99 in 100 steps stay below, which a recommendation is held to. The stretches begin a day
    apart and end with the history; a history shorter than the validity is one.

    Args:
        cores: the history up to the grid's end, NaN where missing.
        grid: of the snapshot.
        validity: length of a stretch.
        share: of the stretches.
    """
    length, a_day = max(validity // grid.step, 1), max(DAY // grid.step, 1)
    ends = range(cores.size, min(length, cores.size) - 1, -a_day)
    stretches = [part for end in ends if np.isfinite(part := cores[max(end - length, 0) : end]).any()]
    needs = [np.nanquantile(part, _ENOUGH, method="higher") for part in stretches]
    return float(np.quantile(needs, share, method="higher"))
