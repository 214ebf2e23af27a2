"""The latency surrogate as a kind of model."""

from dataclasses import dataclass, field
from typing import Any
from zipfile import BadZipFile

from perfopt.capacity.law import INPUTS, LEVELS
from perfopt.capacity.surrogate import LatencySurrogate, read_surrogate
from perfopt.capacity.training.trainer import LatencyTrainer
from perfopt.errors import InvalidInputError
from perfopt.plugin.array_file import read_card
from perfopt.plugin.models import Trainer


@dataclass(frozen=True)
class LatencyKind:
    """Latency quantiles and throttling of a service under a CPU quota (`perfopt.capacity.surrogate`)."""

    kind: str = "latency"
    description: str = "latency of a service under a CPU quota"
    trainer: Trainer | None = field(default_factory=LatencyTrainer)

    def load(self, content: bytes) -> LatencySurrogate:
        """Returns the surrogate of a file's content.

        Raises:
            InvalidInputError: the content is no latency model, or one of other inputs.
        """
        try:
            surrogate = read_surrogate(content)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise _refused("The file is no latency model.") from error
        sizes = [surrogate.mean.shape, surrogate.deviation.shape]
        if sizes != [(INPUTS,), (INPUTS,)] or not all(
            _connected(layers) for layers in (surrogate.layers, surrogate.spread_layers)
        ):
            raise _refused("The latency model has other inputs or outputs than this version computes.")
        return surrogate

    def check(self, content: bytes) -> dict[str, Any]:
        """Returns the card of a file's content.

        Raises:
            InvalidInputError: as `load`.
        """
        surrogate = self.load(content)
        weights = sum(w.size + b.size for w, b in (*surrogate.layers, *surrogate.spread_layers))
        return {"weights": weights, **read_card(content)}


def _connected(layers: Any) -> bool:
    """Returns whether each layer takes what the one before it gives, from the inputs to the outputs."""
    width = INPUTS
    for weights, bias in layers:
        if weights.ndim != 2 or weights.shape[0] != width or bias.shape != weights.shape[1:]:
            return False
        width = weights.shape[1]
    return bool(layers) and width == len(LEVELS) + 1  # and the throttled share


def _refused(message: str) -> InvalidInputError:
    return InvalidInputError(
        message, field="model", remedy="Give a file that `perfopt train --what latency` wrote."
    )
