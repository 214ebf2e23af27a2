"""A history folded into days that end where the forecast begins.

All values are brought to z = asinh((x - centre) / scale) with the median as centre and the mean absolute
deviation from it as scale: what is read from z does not change when a series is multiplied or shifted,
and spikes do not drown the rest.
"""

from dataclasses import dataclass

import numpy as np

from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import DAY_SECONDS as DAY
from perfopt.plugin.calendar import Bools

MAX_DAYS = 28
MIN_DAYS = 2
_MIN_SAMPLES = 24
_MIN_STEPS_A_DAY = 4
_CONSTANT = 1e-9  # spread against level below which a series is a constant with rounding errors


@dataclass(frozen=True, slots=True)
class RobustScaling:
    """The map between values and z; scale 0 where the history is constant."""

    centre: float
    scale: float

    @classmethod
    def of(cls, values: Array) -> "RobustScaling":
        """Returns the scaling of a history with at least one finite value."""
        known = values[np.isfinite(values)]
        centre = float(np.median(known))
        scale = float(np.abs(known - centre).mean())
        return cls(centre, scale if scale > _CONSTANT * abs(centre) and scale > 1e-290 else 0.0)

    def to_z(self, values: Array) -> Array:
        """Returns z of values."""
        result: Array = np.arcsinh((values - self.centre) / self.scale)
        return result

    def to_values(self, z: Array) -> Array:
        """Returns the values that have these z."""
        result: Array = self.centre + self.scale * np.sinh(z)
        return result


@dataclass(frozen=True, slots=True)
class FoldedHistory:
    """A history by day and time of day, both counted back from the origin.

    Attributes:
        z: shape (days, steps of a day), the last 24 hours in the last row; NaN where missing.
        rest: same shape, True on a weekend or where the market is closed that is open on other days.
        scaling: between values and z.
        step: in seconds.
    """

    z: Array
    rest: Bools
    scaling: RobustScaling
    step: int

    @classmethod
    def fold(cls, values: Array, rest: Bools, step: int) -> "FoldedHistory | None":
        """Folds the last 28 days of a history, or the whole days there are.

        Returns:
            None with less than two days or 24 samples, for a step that does not divide a day into four
            parts or more, or for a constant series.
        """
        size = DAY // step
        days = min(values.size // size, MAX_DAYS)
        if DAY % step or days < MIN_DAYS or size < _MIN_STEPS_A_DAY:
            return None
        begin = values.size - days * size
        folded = values[begin:]
        if np.isfinite(folded).sum() < _MIN_SAMPLES:
            return None
        scaling = RobustScaling.of(folded)
        if scaling.scale == 0:
            return None
        return cls(scaling.to_z(folded).reshape(days, size), rest[begin:].reshape(days, size), scaling, step)

    def before(self, days: int) -> "FoldedHistory":
        """Returns what was known `days` days earlier, scaled alike."""
        return FoldedHistory(self.z[:-days], self.rest[:-days], self.scaling, self.step)
