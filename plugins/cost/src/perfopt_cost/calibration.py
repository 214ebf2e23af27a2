"""Upper bounds of what the next window needs.

bound = reference * exp(location · weights + exp(intercept + spread · weights)): a margin that grows with the
series' own spread, as conformal prediction with scaled errors has it (Lei et al. 2018, "Distribution-free
predictive inference for regression", section 5.2). The weights are those that need the least margin for a
given share of windows in which the bound is too low (a chance constraint, Charnes and Cooper 1959, in its
Lagrangian form), over the windows of a fleet: `perfopt train --what cost`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from perfopt.plugin import Array, Prior, ServiceClass
from perfopt_cost.confidence import ConfidenceModel, SizeConfidence
from perfopt_cost.features import LOCATION, SPREAD, usage_features

SPREAD_CLIP = 3.0  # standard deviations: beyond the fleet's range the margin is not extrapolated
LOCATION_CLIP = 1.0
MARGIN_LOGS = (-5.0, 2.0)


@dataclass(frozen=True, slots=True)
class DemandBound:
    """An upper bound and its reference.

    Attributes:
        value: the bound, in the unit of the values.
        reference: P99 or maximum of the history.
        held: share of the fleet's windows in which such bounds held.
        confidence: that a size covers the window; None for a model that says nothing of it.
    """

    value: float
    reference: float
    held: float
    confidence: SizeConfidence | None = None


@dataclass(frozen=True, slots=True)
class BoundModel:
    """The bound of one resource for one class of services.

    Attributes:
        level: of the reference: 0.99 is the P99, 1.0 the maximum.
        floor: the least value that matters, in the unit of the values.
        centre, scale: of the spread's features over the fleet, shape (spread,).
        location, spread: weights.
        intercept: of the logarithm of the margin.
        held: share of windows in which the bound held, on series it was not fitted on.
        confidence: that other sizes hold; None where the file says nothing of it.
    """

    level: float
    floor: float
    centre: Array
    scale: Array
    location: Array
    spread: Array
    intercept: float
    held: float
    confidence: ConfidenceModel | None = None

    @property
    def usable(self) -> bool:
        """Whether the numbers are of the features that this version computes, and finite."""
        arrays = (self.centre, self.scale, self.spread, self.location)
        shapes = [array.shape for array in arrays]
        numbers = np.array([self.level, self.floor, self.intercept, self.held], dtype=np.float64)
        return (
            shapes == [(len(SPREAD),)] * 3 + [(len(LOCATION),)]
            and all(np.isfinite(array).all() for array in (*arrays, numbers))
            and (self.confidence is None or self.confidence.usable(len(SPREAD)))
            and bool((self.scale > 0).all() and 0 < self.level <= 1 and self.floor > 0)
        )

    def bound(self, values: Array, validity_steps: int) -> DemandBound:
        """Returns the bound from values of shape (pods, n), NaN where missing, with at least one sample."""
        seen = usage_features(values, validity_steps, self.level, self.floor)
        spread = np.clip((seen.spread - self.centre) / self.scale, -SPREAD_CLIP, SPREAD_CLIP)
        margin = math.exp(
            min(max(self.intercept + float(self.spread @ spread), MARGIN_LOGS[0]), MARGIN_LOGS[1])
        )
        location = float(self.location @ np.clip(seen.location, -LOCATION_CLIP, LOCATION_CLIP))
        reference = max(seen.reference, self.floor / 2)
        expected = math.log(reference) + location
        model = self.confidence
        return DemandBound(
            math.exp(expected + margin),
            seen.reference,
            self.held,
            None if model is None else SizeConfidence(model, spread, expected, margin, self.floor),
        )


@dataclass(frozen=True, slots=True)
class BoundCalibration:
    """What the package ships.

    Attributes:
        cpu, memory: by service class.
        prior: how often the strategy's recommendations held on series that nothing was fitted on.
    """

    cpu: Mapping[ServiceClass, BoundModel]
    memory: Mapping[ServiceClass, BoundModel]
    prior: Prior


def parse_calibration(text: str) -> BoundCalibration:
    """Reads the file that `perfopt train --what cost` writes."""
    data = json.loads(text)
    return BoundCalibration(
        cpu={kind: _model(data["cpu"], kind) for kind in ServiceClass},
        memory={kind: _model(data["memory"], kind) for kind in ServiceClass},
        prior=Prior(**data["prior"]),
    )


def _model(data: Mapping[str, dict[str, object]], kind: ServiceClass) -> BoundModel:
    fields: dict[str, object] = dict(data["shared"])
    for name, value in {**fields, **data[kind.value]}.items():
        fields[name] = np.array(value) if isinstance(value, list) else value
    weights = fields.pop("confidence", None)
    if weights is not None:
        fields["confidence"] = ConfidenceModel(np.asarray(weights))
    return BoundModel(**fields)  # type: ignore[arg-type]  # the file's fields are the struct's


@lru_cache(maxsize=4)
def read_calibration(content: bytes) -> BoundCalibration:
    """Returns the calibration of a file's content, read once for each content."""
    return parse_calibration(content.decode())


@lru_cache(maxsize=1)
def shipped_calibration() -> BoundCalibration:
    """Returns the calibration of this package, read once."""
    return parse_calibration((files("perfopt_cost") / "calibration.json").read_text(encoding="utf-8"))
