"""The surrogate: latency quantiles and throttling of a simulated service, as a small network run in numpy.

`perfopt train --what latency` simulates services under CPU quota event by event and fits the network to
what came out: log(quantile / (CPU + wait per request)) and the share of throttled periods, from the closed
forms of law.py. A second network gives how far one window strays from that. No measured service is in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.capacity.law import ReplicaLoad, ServiceParameters, closed_forms
from perfopt.metrics.snapshot import Array
from perfopt.plugin.array_file import read_arrays

_Floats = NDArray[np.float32]
_Layers = Sequence[tuple[_Floats, _Floats]]


@dataclass(frozen=True, slots=True)
class LatencySurrogate:
    """Weights of the two networks.

    Attributes:
        mean, deviation: of each input.
        layers: (weights, bias) of the layers that give the outputs.
        spread_layers: of those that give the logarithm of each output's standard deviation.
    """

    mean: _Floats
    deviation: _Floats
    layers: _Layers
    spread_layers: _Layers

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "LatencySurrogate":
        """Returns the surrogate whose `arrays` a fit wrote."""
        return cls(
            mean=arrays["mean"].astype(np.float32),
            deviation=arrays["deviation"].astype(np.float32),
            layers=_layers(arrays, "layer"),
            spread_layers=_layers(arrays, "spread"),
        )

    def predict(self, service: ServiceParameters, load: ReplicaLoad) -> Array:
        """Returns log quantiles in seconds at LEVELS, then the throttled share doubled: shape (..., 5).

        The last is doubled so that a tenth of throttled periods weighs as much as a fifth of latency.
        """
        inputs = closed_forms(service, load)
        outputs = _run(self.layers, self._scaled(inputs)).astype(np.float64)
        base = load.cpu_cores / load.rate + service.wait_seconds
        outputs[..., :-1] += np.log(base)[..., None]
        return outputs

    def spread(self, service: ServiceParameters, load: ReplicaLoad) -> Array:
        """Returns the standard deviation of each output between windows, shape (..., 5)."""
        logs = _run(self.spread_layers, self._scaled(closed_forms(service, load)))
        return np.exp(logs.astype(np.float64))

    def _scaled(self, inputs: Array) -> _Floats:
        return (inputs.astype(np.float32) - self.mean) / self.deviation


@cache
def shipped_surrogate() -> LatencySurrogate:
    """Returns the surrogate of the package."""
    return read_surrogate((resources.files("perfopt.capacity") / "surrogate.npz").read_bytes())


@lru_cache(maxsize=4)
def read_surrogate(content: bytes) -> LatencySurrogate:
    """Returns the surrogate of a file's content, read once for each content.

    Raises:
        ValueError, KeyError, OSError, EOFError, BadZipFile: the content is none.
    """
    return LatencySurrogate.from_arrays(read_arrays(content))


def _layers(arrays: Mapping[str, NDArray[Any]], name: str) -> _Layers:
    count = sum(key.startswith(f"{name}_weights_") for key in arrays)
    return tuple(
        (arrays[f"{name}_weights_{i}"].astype(np.float32), arrays[f"{name}_bias_{i}"].astype(np.float32))
        for i in range(count)
    )


def _run(layers: _Layers, values: _Floats) -> _Floats:
    flat = values.reshape(-1, values.shape[-1])
    for number, (weights, bias) in enumerate(layers):
        flat = flat @ weights + bias
        if number < len(layers) - 1:
            flat = np.maximum(flat, 0)
    return flat.reshape(*values.shape[:-1], -1)
