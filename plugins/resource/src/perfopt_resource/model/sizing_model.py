"""A trained sizing model: a file without code in it, and what to ask of it. Needs numpy only."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np

from perfopt.plugin import (
    DEFAULT_PRICE_BOOK,
    UNDER_PROVISIONING_PENALTIES,
    Array,
    InvalidInputError,
    PriceBook,
    ServiceClass,
)
from perfopt_resource.model.calibrate import ConfidenceCalibration
from perfopt_resource.model.distribution import NeedDistribution
from perfopt_resource.model.features import NAMES, RESOURCES, UseFeatures
from perfopt_resource.model.forest import NeedForest
from perfopt_resource.model.policy import UNUSED_COST, expected_utility, relative_cost, weights

_GIB = 2.0**30
FORMAT = 4
SHIPPED = "sizing-5.npz"
FRONTIER_PENALTIES = (4.5, 6.0, 7.5, 9.5, 12.0, 15.0, 20.0, 30.0, 50.0)
"""Penalties that the frontier is shown at, beside the one requested."""
_FOREST = tuple(one.name for one in fields(NeedForest))


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
        floors: (penalty, expected utility below which none is recommended), penalties rising.
        accuracies: (penalty, share of accurate recommendations), penalties rising.
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
    accuracies: tuple[tuple[float, float], ...]
    seen: tuple[str, ...]
    command: str

    def floor(self, penalty: float) -> float:
        """Returns the least expected utility at a penalty, between those known by straight lines."""
        penalties, utilities = zip(*self.floors, strict=True)
        return float(np.interp(penalty, penalties, utilities))

    def penalty_for(self, accuracy: float) -> float:
        """Returns the lowest penalty at which a fleet reaches an accuracy; the highest known if none."""
        penalties, reached = zip(*self.accuracies, strict=True)
        rising = np.maximum.accumulate(reached)
        return float(np.interp(accuracy, rising, penalties))

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
        utility: expected utility, see policy.py, less what is expected to lie unused.
        cost_change: relative to the recommended size, both resources weighing the same.
    """

    cpu_cores: float | None
    memory_bytes: float | None
    confidence: float
    utility: float
    cost_change: float


@dataclass(frozen=True, slots=True)
class SizingResult:
    """What a model recommends.

    Attributes:
        recommended: the choice.
        frontier: the choice at each of FRONTIER_PENALTIES and the recommended one, from cheap to safe.
        distribution: what it was chosen from.
    """

    recommended: SizeChoice
    frontier: tuple[SizeChoice, ...]
    distribution: NeedDistribution = field(compare=False, repr=False)


def choose(
    distribution: NeedDistribution, penalties: Sequence[float], book: PriceBook = DEFAULT_PRICE_BOOK
) -> dict[float, SizeChoice]:
    """Returns the sizes of highest expected utility (policy.py) at each penalty.

    Args:
        distribution: of the needs.
        penalties: of under-provisioning, rising.
        book: prices of cpu and memory.
    """
    seen = distribution.seen
    resources = [resource for resource in RESOURCES if resource in seen.references]
    typical = [distribution.typical(resource) for resource in resources]
    prices = [_price(resource, book) for resource in resources]
    sizes = {resource: distribution.sizes(resource) for resource in resources}
    probability = distribution.probabilities(sizes)
    cost = relative_cost(list(sizes.values()), typical, prices)
    beforehand = [distribution.needed(resource, sizes[resource]) for resource in resources]
    shares = [weights(expected_utility(probability, cost, penalty), beforehand) for penalty in penalties]
    chosen = {
        resource: distribution.allowed(resource, _means(sizes[resource], shares, axis))
        for axis, resource in enumerate(resources)
    }
    # Sizes of all penalties in one call, of which the pairs of one penalty lie on the diagonal.
    stated = distribution.calibration(_diagonal(distribution.probabilities(chosen)), seen.known)
    at = _diagonal(relative_cost(list(chosen.values()), typical, prices))
    unused = np.mean([distribution.unused(name, each) for name, each in chosen.items()], axis=0) / seen.known
    utility = expected_utility(stated, at, np.asarray(penalties)) - UNUSED_COST * unused
    return {
        penalty: SizeChoice(
            cpu_cores=float(chosen["cpu"][number]) if "cpu" in chosen else None,
            memory_bytes=float(chosen["memory"][number]) if "memory" in chosen else None,
            confidence=float(stated[number]),
            utility=float(utility[number]),
            cost_change=0.0,
        )
        for number, penalty in enumerate(penalties)
    }


def _diagonal(values: Array) -> Array:
    """Returns the values at equal places of each dimension, shape (n,)."""
    return values if values.ndim == 1 else np.diagonal(values)


def _means(sizes: Array, shares: Sequence[Array], axis: int) -> Array:
    """Returns the geometric mean of the sizes of a resource by each share, shape (shares,).

    Args:
        sizes: of the resource.
        shares: how much each counts, one dimension for each resource.
        axis: of the resource.
    """
    others = tuple(other for other in range(shares[0].ndim) if other != axis)
    logs = np.log(sizes)
    means: Array = np.exp([logs @ share.sum(axis=others) for share in shares])
    return means


def _price(resource: str, book: PriceBook) -> float:
    """Returns the price of a core or of a byte for an hour."""
    return book.cpu_core_hour if resource == "cpu" else book.memory_gib_hour / _GIB


@dataclass(frozen=True, slots=True)
class SizingModel:
    """The joint distribution of the cpu and memory that a history leads to, and its calibration.

    Attributes:
        card: what the model is.
        forest: whose leaves hold what was needed.
        calibration: of the joint probability.
        sha256: of the file it was read from; None where it was not.
    """

    card: ModelCard
    forest: NeedForest
    calibration: ConfidenceCalibration
    sha256: str | None = None

    def size(
        self,
        features: UseFeatures,
        penalty: float = UNDER_PROVISIONING_PENALTIES[ServiceClass.STANDARD],
        book: PriceBook = DEFAULT_PRICE_BOOK,
    ) -> SizingResult:
        """Returns the sizes of highest expected utility (policy.py), both resources at once.

        So risk goes where it saves most: a flat memory is sized surely, a restless CPU less so.

        Args:
            features: with at least one reference.
            penalty: by the service's class, UNDER_PROVISIONING_PENALTIES.
            book: prices of cpu and memory.
        """
        distribution = self.distribution(features)
        choices = choose(distribution, sorted({penalty, *FRONTIER_PENALTIES}), book)
        recommended = choices[penalty]
        return SizingResult(
            recommended,
            tuple(_relative_to(recommended, choice) for choice in choices.values()),
            distribution,
        )

    def distribution(self, features: UseFeatures) -> NeedDistribution:
        """Returns what the model expects of a container."""
        leaves = self.forest.leaves(features.values)
        return NeedDistribution(
            self.forest.cells(leaves), self.forest.typically_given(leaves), features, self.calibration
        )

    def confidence(self, features: UseFeatures, sizes: Mapping[str, float]) -> float:
        """Returns the calibrated probability that given sizes are accurate.

        Args:
            features: of the history.
            sizes: resource to cores or bytes; those not measured are not asked.
        """
        return self.distribution(features).confidence(sizes)

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
        }
        arrays: dict[str, Any] = {
            "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
            **{name: getattr(self.forest, name) for name in _FOREST},
        }
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
            forest=NeedForest(**{name: arrays[name] for name in _FOREST}),
            calibration=msgspec.convert(header["calibration"], ConfidenceCalibration),
        )


def _relative_to(recommended: SizeChoice, choice: SizeChoice) -> SizeChoice:
    """Returns a choice with its cost relative to the recommended one."""
    pairs = (
        (choice.cpu_cores, recommended.cpu_cores),
        (choice.memory_bytes, recommended.memory_bytes),
    )
    changes = [one / other - 1 for one, other in pairs if one is not None and other is not None]
    return replace(choice, cost_change=sum(changes) / len(changes))


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
