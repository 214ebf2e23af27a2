"""A trained sizing model: a file without code in it, and what to ask of it. Needs numpy only."""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np

from perfopt.domain.enums import ServiceClass
from perfopt.errors import InvalidInputError
from perfopt.learn.calibrate import Calibration
from perfopt.learn.curves import TREE_ARRAYS, Columns, Curve, Trees
from perfopt.learn.features import FLOORS, NAMES, RESOURCES, Features
from perfopt.learn.policy import choose_each
from perfopt.metrics.snapshot import Array

FORMAT = 1
SHORTAGE_COSTS: Mapping[ServiceClass, float] = {
    ServiceClass.CRITICAL: 8.0,
    ServiceClass.STANDARD: 5.5,
    ServiceClass.BATCH: 4.0,
}
"""What a broken word costs, when a size of which all would be slack costs 1 (see policy.py)."""
FRONTIER_COSTS = (4.0, 4.5, 5.5, 6.5, 8.0, 10.0, 13.0)
"""Costs of shortage that the frontier is shown at, those of the classes among them."""
_PART = 1e-9


class ModelError(InvalidInputError):
    """A model file can't be used."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is and how it did; stored in the file.

    Attributes:
        name: of the model.
        version: of the model, chosen by who trains it.
        trained_until: end of the latest outcome trained on, ISO 8601; None for undated data.
        data: source, licence and citation of each data set.
        series, examples: how many were trained on.
        split: how the figures were come by.
        figures: of out-of-fold replay.
        confidence_floor: below it a recommendation for a standard service is better not made.
        command: that rebuilds the file.
    """

    name: str
    version: str
    trained_until: str | None
    data: tuple[str, ...]
    series: int
    examples: int
    split: str
    figures: dict[str, float]
    confidence_floor: float
    command: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A size and how surely it keeps its word.

    Attributes:
        cpu_cores, memory_bytes: whole millicores and bytes; None where not measured.
        confidence: calibrated probability of being accurate, DESIGN.md section 5.
        cost_change: relative to the recommended size, both resources weighing the same.
    """

    cpu_cores: float | None
    memory_bytes: float | None
    confidence: float
    cost_change: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a model recommends.

    Attributes:
        recommended: the choice.
        frontier: the choice at each of FRONTIER_COSTS, from cheap to sure.
        outlook: what it was chosen from.
    """

    recommended: Choice
    frontier: tuple[Choice, ...]
    outlook: "Outlook" = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a model expects of one container.

    Attributes:
        curves: resource to P(need <= e^x * reference).
        references: as the features have them.
        calibration: of the product of the probabilities.
    """

    curves: Mapping[str, Curve]
    references: Mapping[str, float]
    calibration: Calibration

    def confidence(self, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that sizes are accurate.

        Args:
            sizes: resource to cores or bytes, of all resources measured.
        """
        joint = 1.0
        for resource, reference in self.references.items():
            x = math.log(max(sizes[resource], FLOORS[resource]) / reference)
            joint *= float(self.curves[resource].probabilities(np.array([x + _PART]))[0])
        return float(self.calibration(np.array([joint]))[0])


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Sizes of one resource, rising; the probability that each is enough; log(size / reference)."""

    sizes: Array
    probabilities: Array
    at: Array


@dataclass(frozen=True, slots=True)
class SizingModel:
    """P(need <= size | history) of cpu and of memory, and the calibration of both together.

    Attributes:
        card: what the model is.
        trees: by resource.
        grid: logarithms of the factors of the reference that are considered, rising.
        calibration: of the product of the two probabilities.
        sha256: of the file it was read from; None where it was not.
    """

    card: ModelCard
    trees: Mapping[str, Trees]
    grid: Array
    calibration: Calibration
    sha256: str | None = None

    def size(
        self, features: Features, shortage_cost: float = 5.5, target_confidence: float | None = None
    ) -> Sizing:
        """Returns the sizes of least expected cost of slack and shortage (policy.py), both resources at once.

        So risk goes where it is cheapest to take: a flat memory is sized surely, a restless CPU less so.

        Args:
            features: with at least one reference.
            shortage_cost: by the service's class, SHORTAGE_COSTS.
            target_confidence: raise the cost of shortage until this confidence is reached, if it can be.
        """
        outlook = self.outlook(features)
        candidates = self._candidates(outlook)
        if target_confidence is not None:
            shortage_cost = self._cost_reaching(candidates, target_confidence, shortage_cost)
        chosen, *around = self._choose(candidates, shortage_cost, *FRONTIER_COSTS)
        made = {pick: self._choice(candidates, pick, chosen) for pick in {chosen, *around}}
        return Sizing(made[chosen], tuple(made[pick] for pick in around), outlook)

    def outlook(self, features: Features) -> Outlook:
        """Returns what the model expects of a container."""
        curves = {resource: self.trees[resource].curve(features.values) for resource in features.references}
        return Outlook(curves, features.references, self.calibration)

    def confidence(self, features: Features, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that given sizes are accurate.

        Args:
            features: of the history.
            sizes: resource to cores or bytes; those not measured are not asked.
        """
        return self.outlook(features).confidence(sizes)

    def _candidates(self, outlook: Outlook) -> dict[str, _Candidates]:
        found = {}
        for resource, reference in outlook.references.items():
            unit = 1e-3 if resource == "cpu" else 1.0
            raw = np.ceil(np.round(reference * np.exp(self.grid) / unit, 6)) * unit
            sizes = np.unique(np.maximum(raw, FLOORS[resource]))
            at = np.log(sizes / reference)
            found[resource] = _Candidates(sizes, outlook.curves[resource].probabilities(at + _PART), at)
        return found

    def _choose(self, candidates: Mapping[str, _Candidates], *shortage_costs: float) -> list[tuple[int, ...]]:
        """Returns the indices of the chosen sizes at each cost."""
        parts = tuple(candidates.values())
        curves, at = [part.probabilities for part in parts], [part.at for part in parts]
        return choose_each(curves, at, shortage_costs)

    def _cost_reaching(self, candidates: Mapping[str, _Candidates], target: float, least: float) -> float:
        """Returns the least of rising costs of shortage at which the choice reaches the target."""
        for cost in least * 1.25 ** np.arange(25):
            if self._confidence(candidates, self._choose(candidates, float(cost))[0]) >= target:
                break
        return float(cost)

    def _confidence(self, candidates: Mapping[str, _Candidates], pick: tuple[int, ...]) -> float:
        parts = zip(candidates.values(), pick, strict=True)
        joint = math.prod(float(found.probabilities[i]) for found, i in parts)
        return float(self.calibration(np.array([joint]))[0])

    def _choice(
        self, candidates: Mapping[str, _Candidates], pick: tuple[int, ...], chosen: tuple[int, ...]
    ) -> Choice:
        at = dict(zip(candidates, pick, strict=True))
        sizes = {resource: float(candidates[resource].sizes[i]) for resource, i in at.items()}
        changes = [
            sizes[resource] / float(candidates[resource].sizes[i]) - 1
            for resource, i in zip(candidates, chosen, strict=True)
        ]
        return Choice(
            cpu_cores=sizes.get("cpu"),
            memory_bytes=sizes.get("memory"),
            confidence=self._confidence(candidates, pick),
            cost_change=sum(changes) / len(changes),
        )

    def save(self, path: Path) -> str:
        """Writes the file and returns its SHA-256. The same model gives the same bytes."""
        data = self.dumps()
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def dumps(self) -> bytes:
        """Returns the content of the file."""
        header = {
            "format": FORMAT,
            "features": NAMES,
            "card": msgspec.to_builtins(self.card),
            "calibration": msgspec.to_builtins(self.calibration),
            "columns": {
                resource: msgspec.to_builtins(trees.columns) for resource, trees in self.trees.items()
            },
        }
        arrays: dict[str, Any] = {
            "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
            "grid": self.grid,
        }
        for resource, trees in self.trees.items():
            arrays |= {f"{resource}_{name}": values for name, values in trees.arrays().items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # members carry a fixed date: 1980
        return buffer.getvalue()

    @classmethod
    def load(cls, path: Path) -> "SizingModel":
        """Reads a model file; no code in it is run.

        Raises:
            ModelError: not such a file, or of features that this version does not compute.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unusable(str(path), error) from error
        return cls.loads(data, str(path))

    @classmethod
    def loads(cls, data: bytes, name: str = "The model") -> "SizingModel":
        """Reads the content of a model file; no code in it is run.

        Args:
            data: the content.
            name: what to call it in an error.

        Raises:
            ModelError: not such a file, or of features that this version does not compute.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                read = cls._read({name: arrays[name] for name in arrays.files})
        except (OSError, EOFError, ValueError, KeyError, BadZipFile, msgspec.ValidationError) as error:
            raise _unusable(name, error) from error
        return replace(read, sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def _read(cls, arrays: Mapping[str, Any]) -> "SizingModel":
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != FORMAT or tuple(header["features"]) != NAMES:
            raise ValueError(f"format {header['format']}, other features")
        return cls(
            card=msgspec.convert(header["card"], ModelCard),
            trees={
                resource: Trees(
                    columns=msgspec.convert(header["columns"][resource], Columns),
                    **{name: arrays[f"{resource}_{name}"] for name in TREE_ARRAYS},
                )
                for resource in RESOURCES
            },
            grid=arrays["grid"],
            calibration=msgspec.convert(header["calibration"], Calibration),
        )


def _unusable(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{name} is not a sizing model of this version: {error}",
        field="model",
        remedy="train it again with `perfopt train`",
    )


@lru_cache(maxsize=1)
def shipped_model() -> SizingModel:
    """Returns the model that comes with perfopt, read once."""
    return SizingModel.loads((files("perfopt.learn") / "models" / "sizing-1.npz").read_bytes())


@lru_cache(maxsize=4)
def read_model(data: bytes) -> SizingModel:
    """Returns the model of a file's content, read once for each content; see SizingModel.loads."""
    return SizingModel.loads(data)
