"""Upper prediction bounds of what section 5 scores: the window's P99 of cpu, its maximum of memory.

bound = reference * exp(location + margin), with
  reference  the P99 (cpu) or the maximum (memory) of the history,
  location   a linear function of recent peaks and trend: 0 where the recent past is like the rest,
  margin     exp(a linear function of the logarithms of the series' own spreads and past errors).
A margin that grows with the series' own spread is conformal prediction with scaled errors (Lei et al.
2018, "Distribution-free predictive inference for regression", section 5.2). How much spread means how
much margin is fitted across a fleet, because one history of 14 days holds too few windows to tell.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Protocol

from perfopt_resource.features import Array, cut, features

LEAST_SPREAD = 0.02  # added to a spread before its logarithm: 2 % is the noise of measuring
SPREAD_CLIP = 3.0  # standard deviations: beyond the fleet's range the margin is not extrapolated
MARGIN_RANGE = (math.exp(-5), math.exp(2))
NO_SPREADS = frozenset({"level", "blocks"})


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound and what it was made of.

    Attributes:
        value: the bound, in the unit of the values.
        reference: P99 or maximum of the history.
        own_error: typical error of forecasts of this series' P99 at past origins, as a ratio (1.2: 20 %).
        samples: how many samples it rests on.
        held: probability that it is enough.
    """

    value: float
    reference: float
    own_error: float
    samples: int
    held: float


class BoundModel(Protocol):
    """Whatever turns a history into an upper bound for the validity window."""

    def bound(self, values: Array, validity_steps: int) -> Bound:
        """Returns the bound from values of shape (pods, n), NaN where missing, first column present."""


@dataclass(frozen=True, slots=True)
class SpreadBound:
    """The bound of the module's text, with the fleet's constants.

    Attributes:
        reference: the feature that is the reference, "p99" or "max".
        floor: the least value that matters, in the unit of the values.
        location: weights of the location's features.
        spread: feature to (mean, standard deviation, weight) of its logarithm.
        intercept: of the logarithm of the margin.
        held: share of the fleet's windows in which the bound was enough, on series it was not fitted on.
    """

    reference: str
    floor: float
    location: Mapping[str, float]
    spread: Mapping[str, tuple[float, float, float]]
    intercept: float
    held: float

    def bound(self, values: Array, validity_steps: int) -> Bound:
        """Returns the bound of BoundModel.bound."""
        blocks = cut(values, validity_steps, self.floor)
        seen = features(blocks)
        reference = max(seen[self.reference], math.log(self.floor))
        seen["level"] = reference
        exponent = self.intercept + sum(
            weight * standardised(spread_term(name, seen[name]), mean, deviation)
            for name, (mean, deviation, weight) in self.spread.items()
        )
        margin = min(max(math.exp(exponent), MARGIN_RANGE[0]), MARGIN_RANGE[1])
        location = sum(weight * seen[name] for name, weight in self.location.items())
        return Bound(
            value=math.exp(reference + location + margin),
            reference=math.exp(seen[self.reference]),
            own_error=math.exp(seen["own_error"]),
            samples=blocks.everything.size,
            held=self.held,
        )


def spread_term(name: str, value: float) -> float:
    """Returns a spread feature as the margin uses it: its logarithm, or itself where it is one already."""
    return value if name in NO_SPREADS else math.log(max(value, 0.0) + LEAST_SPREAD)


def standardised(value: float, mean: float, deviation: float) -> float:
    """Returns the distance from the fleet's mean in its standard deviations, clipped."""
    return min(max((value - mean) / deviation, -SPREAD_CLIP), SPREAD_CLIP)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fleet's constants and the measurement of how often they held.

    Attributes:
        cpu, memory: the bounds.
        prior_mean, prior_strength, prior_source: see perfopt.plugin.Prior.
    """

    cpu: SpreadBound
    memory: SpreadBound
    prior_mean: float
    prior_strength: float
    prior_source: str


def parse_calibration(text: str) -> Calibration:
    """Reads the file that benchmarks/fit_resource_calibration.py writes."""
    data = json.loads(text)
    prior = data["prior"]
    return Calibration(
        cpu=_spread_bound(data["cpu"]),
        memory=_spread_bound(data["memory"]),
        prior_mean=prior["mean"],
        prior_strength=prior["strength"],
        prior_source=prior["source"],
    )


def _spread_bound(data: dict[str, object]) -> SpreadBound:
    fields = dict(data)
    fields["spread"] = {name: tuple(term) for name, term in fields["spread"].items()}  # type: ignore[attr-defined]
    return SpreadBound(**fields)  # type: ignore[arg-type]  # the file's fields are the struct's


@lru_cache(maxsize=1)
def shipped_calibration() -> Calibration:
    """Returns the calibration of this package, read once."""
    return parse_calibration((files("perfopt_resource") / "calibration.json").read_text(encoding="utf-8"))
