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

from perfopt.plugin import UNDER_PROVISIONING_PENALTIES, Array, InvalidInputError, ServiceClass
from perfopt_resource.model.calibrate import ConfidenceCalibration
from perfopt_resource.model.candidates import SizeCandidates, candidates, probability
from perfopt_resource.model.curves import TREE_ARRAYS, BoostedTrees, SafetyCurve, TreeColumns
from perfopt_resource.model.features import FLOORS, NAMES, RESOURCES, UseFeatures
from perfopt_resource.model.policy import choose_each

FORMAT = 3
SHIPPED = "sizing-3.npz"
FRONTIER_COSTS = (3.0, 4.5, 6.0, 7.5, 9.5, 12.0, 15.0, 20.0)
"""Penalties that the frontier is shown at, beside the one requested."""


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
        floors: (penalty, worth below which a recommendation is better not made), penalties rising.
        seen: hashes of the names of the series trained on, see `hashed`.
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
    floors: tuple[tuple[float, float], ...]
    seen: tuple[str, ...]
    command: str

    def floor(self, penalty: float) -> float:
        """Returns the minimum worth at a penalty, between those known by straight lines."""
        costs, worths = zip(*self.floors, strict=True)
        return float(np.interp(penalty, costs, worths))

    def saw(self, name: str) -> bool:
        """Returns whether a series of this name was trained on."""
        return hashed(name) in self.seen


def hashed(name: str) -> str:
    """Returns the beginning of the SHA-256 of a series' name: a card tells what was seen, and no names."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """A size and the probability that it is accurate.

    Attributes:
        cpu_cores, memory_bytes: whole millicores and bytes; None where not measured.
        confidence: calibrated probability of being accurate: safe in CPU and in memory.
        slack: expected cost of what will go unused, see policy.py.
        cost_change: relative to the recommended size, both resources weighing the same.
    """

    cpu_cores: float | None
    memory_bytes: float | None
    confidence: float
    slack: float
    cost_change: float


@dataclass(frozen=True, slots=True)
class SizingResult:
    """What a model recommends.

    Attributes:
        recommended: the choice.
        frontier: the choice at each of FRONTIER_COSTS and the recommended one, from cheap to sure.
        distribution: what it was chosen from.
    """

    recommended: SizeChoice
    frontier: tuple[SizeChoice, ...]
    distribution: "NeedDistribution" = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NeedDistribution:
    """What a model expects of one container.

    Attributes:
        curves: resource to P(need <= e^x * reference).
        seen: the features.
        calibration: of the product of the probabilities, by how long the history is.
    """

    curves: Mapping[str, SafetyCurve]
    seen: UseFeatures
    calibration: ConfidenceCalibration

    def confidence(self, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that sizes are accurate.

        Args:
            sizes: resource to cores or bytes, of all resources measured.
        """
        joint = math.prod(
            probability(name, self.curves[name], reference, sizes[name], self.seen.ceilings.get(name))
            for name, reference in self.seen.references.items()
        )
        return float(self.calibration(np.array([joint]), self.seen.known)[0])

    def interval(self, resource: str, grid: Array, level: float = 0.8) -> tuple[float, float]:
        """Returns between what the need of a resource will lie, in cores or bytes.

        Args:
            resource: that was measured.
            grid: logarithms of the factors of the reference that are considered, rising.
            level: probability that it lies there.
        """
        curve = self.curves[resource].probabilities(grid)
        edges = np.interp([(1 - level) / 2, (1 + level) / 2], curve, grid, left=-np.inf)
        sizes = self.seen.references[resource] * np.exp(edges)
        ceiling = self.seen.ceilings.get(resource)
        most = math.inf if ceiling is None else ceiling.size
        low, high = np.minimum(np.maximum(sizes, FLOORS[resource]), most)
        return float(low), float(high)


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
    trees: Mapping[str, BoostedTrees]
    grid: Array
    calibration: ConfidenceCalibration
    sha256: str | None = None

    def size(
        self,
        features: UseFeatures,
        penalty: float = UNDER_PROVISIONING_PENALTIES[ServiceClass.STANDARD],
    ) -> SizingResult:
        """Returns the sizes that are worth most (policy.py), both resources at once.

        So risk goes where it is cheapest to take: a flat memory is sized surely, a restless CPU less so.

        Args:
            features: with at least one reference.
            penalty: by the service's class, UNDER_PROVISIONING_PENALTIES.
        """
        distribution = self.distribution(features)
        found = {
            resource: candidates(
                resource, distribution.curves[resource], reference, self.grid, features.ceilings.get(resource)
            )
            for resource, reference in features.references.items()
        }
        parts = tuple(found.values())
        costs = sorted({penalty, *FRONTIER_COSTS})
        picks = choose_each([part.probabilities for part in parts], [part.slacks for part in parts], costs)
        chosen = picks[costs.index(penalty)]
        choices = {pick: self._choice(found, pick, chosen, features.known) for pick in picks}
        return SizingResult(choices[chosen], tuple(choices[pick] for pick in picks), distribution)

    def distribution(self, features: UseFeatures) -> NeedDistribution:
        """Returns what the model expects of a container."""
        curves = {resource: self.trees[resource].curve(features.values) for resource in features.references}
        return NeedDistribution(curves, features, self.calibration)

    def confidence(self, features: UseFeatures, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that given sizes are accurate.

        Args:
            features: of the history.
            sizes: resource to cores or bytes; those not measured are not asked.
        """
        return self.distribution(features).confidence(sizes)

    def _choice(
        self,
        found: Mapping[str, SizeCandidates],
        pick: tuple[int, ...],
        chosen: tuple[int, ...],
        known: float,
    ) -> SizeChoice:
        parts = tuple(found.values())
        sizes = {name: float(part.sizes[i]) for (name, part), i in zip(found.items(), pick, strict=True)}
        changes = [
            float(part.sizes[i] / part.sizes[j]) - 1 for part, i, j in zip(parts, pick, chosen, strict=True)
        ]
        joint = math.prod(float(part.probabilities[i]) for part, i in zip(parts, pick, strict=True))
        return SizeChoice(
            cpu_cores=sizes.get("cpu"),
            memory_bytes=sizes.get("memory"),
            confidence=float(self.calibration(np.array([joint]), known)[0]),
            slack=sum(float(part.slacks[i]) for part, i in zip(parts, pick, strict=True)),
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
            raise ModelError(
                f"The sizing model {path} can't be read: {error.strerror or error}.",
                field="model",
                remedy="Check the path and its mode.",
            ) from error
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
            reason = f": {error}" if isinstance(error, _OtherVersionError) else ""
            raise ModelError(
                f"{name} is not a sizing model of this version{reason}.",
                field="model",
                remedy="Train it again with `perfopt train`.",
            ) from error
        return replace(read, sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def _read(cls, arrays: Mapping[str, Any]) -> "SizingModel":
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != FORMAT or tuple(header["features"]) != NAMES:
            raise _OtherVersionError(f"format {header['format']}, other features")
        return cls(
            card=msgspec.convert(header["card"], ModelCard),
            trees={
                resource: BoostedTrees(
                    columns=msgspec.convert(header["columns"][resource], TreeColumns),
                    **{name: arrays[f"{resource}_{name}"] for name in TREE_ARRAYS},
                )
                for resource in RESOURCES
            },
            grid=arrays["grid"],
            calibration=msgspec.convert(header["calibration"], ConfidenceCalibration),
        )


class _OtherVersionError(ValueError):
    """A sizing model that another version of perfopt wrote; the message says in what it differs."""


@lru_cache(maxsize=1)
def shipped_model() -> SizingModel:
    """Returns the model that comes with perfopt, read once."""
    return SizingModel.loads((files("perfopt_resource.model") / SHIPPED).read_bytes())


@lru_cache(maxsize=4)
def read_model(data: bytes) -> SizingModel:
    """Returns the model of a file's content, read once for each content; see SizingModel.loads."""
    return SizingModel.loads(data)
