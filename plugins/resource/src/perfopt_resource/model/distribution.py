"""What a container will need over the validity, of cpu and memory together, and the sizes it may be given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfopt.plugin import Array
from perfopt_resource.model.calibrate import ConfidenceCalibration
from perfopt_resource.model.features import FLOORS, RESOURCES, SizeCeiling, UseFeatures
from perfopt_resource.model.forest import CELLS, GRID
from perfopt_resource.model.steadiness import own_evidence, with_own_evidence

_UNITS = {"cpu": 1e-3, "memory": 1.0}
_TYPICAL_RANGE = (1.5, 12.0)
_SELDOM = 1e-3  # probability of a need, below which needs count as equally seldom
_TYPICAL_UNKNOWN = 4.0  # a fleet that states no limits teaches nothing of what is given


@dataclass(frozen=True)
class NeedDistribution:
    """What a model expects of one container.

    Attributes:
        cells: probability of each cell of the grid by the forest, shape (CELLS, CELLS): cpu by memory.
        given: what containers of such use were given, over their reference, by resource; NaN unknown.
        seen: the features.
        calibration: of the joint probability, by how long the history is.
    """

    cells: Array
    given: Array
    seen: UseFeatures
    calibration: ConfidenceCalibration

    @cached_property
    def cumulated(self) -> Array:
        """P(cpu <= e^x * reference, memory <= e^y * reference), shape (CELLS, CELLS); last: no bound.

        By the forest and, of what hardly moves, by the history itself (steadiness.py).
        """
        joint = with_own_evidence(self.cells, self.seen).cumsum(axis=0).cumsum(axis=1)
        whole: Array = joint / joint[-1, -1]
        return whole

    def typical(self, resource: str) -> float:
        """Returns what is typically given to a container of such use, in cores or bytes."""
        factor = float(self.given[RESOURCES.index(resource)])
        factor = _TYPICAL_UNKNOWN if np.isnan(factor) else factor
        return self.seen.references[resource] * float(np.clip(factor, *_TYPICAL_RANGE))

    def sizes(self, resource: str) -> Array:
        """Returns the sizes of a resource that are considered, rising: from its floor to its ceiling.

        Args:
            resource: that was measured.

        Returns:
            Whole millicores, in cores, or whole bytes.
        """
        return np.unique(self.allowed(resource, self.seen.references[resource] * np.exp(GRID)))

    def allowed(self, resource: str, sizes: Array) -> Array:
        """Returns sizes within the ceiling and the floor of a resource, rounded up to whole units."""
        unit, ceiling = _UNITS[resource], self.seen.ceilings.get(resource)
        if ceiling is not None:
            sizes = np.minimum(sizes, ceiling.size)
        rounded: Array = np.maximum(np.ceil(np.round(sizes / unit, 6)) * unit, FLOORS[resource])
        return rounded

    def probabilities(self, sizes: Mapping[str, Array]) -> Array:
        """Returns the probability that sizes are enough, before calibration.

        Args:
            sizes: resource to sizes, of all resources measured.

        Returns:
            One dimension for each resource, cpu before memory.
        """
        cpu, memory = (self._weights(resource, sizes.get(resource)) for resource in RESOURCES)
        joint: Array = cpu @ self.cumulated @ memory.T
        return joint.reshape([len(sizes[resource]) for resource in RESOURCES if resource in sizes])

    def needed(self, resource: str, sizes: Array) -> Array:
        """Returns how probable it is that sizes are just what is needed, to the power of the own evidence.

        Of a history that hardly moves, sizes above all that may be needed are not worth considering, however
        little they cost; of one that moves all are, alike.

        Args:
            resource: that was measured.
            sizes: rising.

        Returns:
            Logarithms, shape of the sizes.
        """
        curve = self.cumulated[:, -1] if resource == "cpu" else self.cumulated[-1]
        enough = self._between_cells(resource, sizes) @ curve  # what a limit makes enough, nobody needs
        share = np.maximum(np.diff(enough, prepend=0.0), 0.0)
        logs: Array = own_evidence(self.seen, resource).weight * np.log(share / share.sum() + _SELDOM)
        return logs

    def unused(self, resource: str, sizes: Array) -> Array:
        """Returns the expected logarithm of sizes over what is needed of them; what exceeds one counts 0.

        Args:
            resource: that was measured.
            sizes: in cores or bytes.
        """
        cumulated = self.cumulated[:, -1] if resource == "cpu" else self.cumulated[-1]
        lowest = np.append(GRID, np.inf)
        over = np.log(sizes / self.seen.references[resource])[:, None] - lowest
        expected: Array = np.maximum(over, 0.0) @ np.diff(cumulated, prepend=0.0)
        return expected

    def _weights(self, resource: str, sizes: Array | None) -> Array:
        """Returns how sizes lie between points of the grid: shape (sizes, CELLS), or (1, CELLS) of none."""
        if sizes is None:
            return np.eye(CELLS)[-1:]
        weights = self._between_cells(resource, sizes)
        ceiling = self.seen.ceilings.get(resource)
        if ceiling is not None:
            _hold(weights, sizes >= ceiling.size, ceiling)
        return weights

    def _between_cells(self, resource: str, sizes: Array) -> Array:
        """Returns how sizes lie between points of the grid, whatever the ceiling: shape (sizes, CELLS)."""
        at = np.log(sizes / self.seen.references[resource]) + 1e-9
        index = np.interp(at, GRID, np.arange(len(GRID)))
        low = np.minimum(index.astype(int), len(GRID) - 2)
        weights = np.zeros((len(sizes), CELLS))
        rows = np.arange(len(sizes))
        weights[rows, low], weights[rows, low + 1] = 1 - (index - low), index - low
        return weights

    def confidence(self, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that sizes are accurate.

        Args:
            sizes: resource to cores or bytes, of all resources measured.
        """
        asked = {
            resource: np.array([max(sizes[resource], FLOORS[resource])]) for resource in self.seen.references
        }
        joint = self.probabilities(asked).reshape(1)
        return float(self.calibration(joint, self.seen.known)[0])

    def enough(self, resource: str, size: float) -> float:
        """Returns the probability that a size of one resource is enough, before calibration.

        Args:
            resource: that was measured.
            size: in cores or bytes.
        """
        asked = {resource: np.array([max(size, FLOORS[resource])])}
        return float(self.probabilities(asked)[0])

    def interval(self, resource: str, level: float = 0.8) -> tuple[float, float]:
        """Returns between what the need of a resource will lie, in cores or bytes.

        Args:
            resource: that was measured.
            level: probability that it lies there.
        """
        low, high = self.quantiles(resource, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def quantiles(self, resource: str, levels: Sequence[float]) -> Array:
        """Returns sizes that the need of a resource stays within, in cores or bytes, shape (levels,).

        Args:
            resource: that was measured.
            levels: probability of staying within, rising.
        """
        curve = self.cumulated[:-1, -1] if resource == "cpu" else self.cumulated[-1, :-1]
        edges = np.interp(levels, curve, GRID, left=-np.inf)
        sizes = self.seen.references[resource] * np.exp(edges)
        ceiling = self.seen.ceilings.get(resource)
        highest = np.inf if ceiling is None else ceiling.size
        within: Array = np.minimum(np.maximum(sizes, FLOORS[resource]), highest)
        return within


def _hold(weights: Array, at_ceiling: np.typing.NDArray[np.bool_], ceiling: SizeCeiling) -> None:
    """Gives sizes at the ceiling the share of cases in which such a ceiling was enough."""
    weights[at_ceiling] = 0.0
    weights[at_ceiling, -1] = ceiling.held
