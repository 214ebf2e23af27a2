"""The file of a fleet network: its arrays and its card, without code in it."""

from functools import cache, lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from perfopt.errors import InvalidInputError
from perfopt.forecast.experts import COUNT, LEVELS
from perfopt.forecast.features import FEATURES
from perfopt.forecast.network import GROUPS, FleetNetwork
from perfopt.plugin.array_file import read_arrays

SHIPPED = "fleet.npz"
_OUTPUTS = len(LEVELS) * (COUNT + 2)


@lru_cache(maxsize=4)
def read_network(content: bytes) -> FleetNetwork:
    """Returns the network of a file's content, read once for each content.

    Raises:
        InvalidInputError: the content is no network, or one of other inputs.
    """
    try:
        network = FleetNetwork.from_arrays(read_arrays(content))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise _refused("The file is no forecast model.") from error
    if not _fits(network):
        raise _refused("The forecast model has other inputs or outputs than this version computes.")
    return network


@cache
def fleet_network() -> FleetNetwork:
    """Returns the network of the package."""
    return read_network((resources.files(__package__) / SHIPPED).read_bytes())


def _fits(network: FleetNetwork) -> bool:
    arrays: list[NDArray[Any]] = [network.mean, network.deviation, network.theta]
    arrays += [array for layer in network.layers for array in layer]
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in arrays):
        return False
    rising = bool((np.diff(network.theta, axis=-1) >= 0).all() and (network.theta > 0).all())
    shapes = (network.mean.shape, network.deviation.shape, network.theta.shape)
    scaled = shapes == ((FEATURES,), (FEATURES,), (GROUPS, len(LEVELS))) and bool(
        (network.deviation > 0).all()
    )
    return scaled and rising and bool((network.theta < 1).all()) and _connected(network)


def _connected(network: FleetNetwork) -> bool:
    """Returns whether each layer takes what the one before it gives, from the inputs to the outputs."""
    if not network.layers or any(weights.ndim != 3 for weights, _ in network.layers):
        return False
    weights = [weights.shape for weights, _ in network.layers]
    chained = all(left[2] == right[1] and left[0] == right[0] for left, right in pairwise(weights))
    biased = all(bias.shape == (w.shape[0], w.shape[2]) for w, bias in network.layers)
    return (
        chained and biased and weights[0][0] > 0 and (weights[0][1], weights[-1][2]) == (FEATURES, _OUTPUTS)
    )


def _refused(message: str) -> InvalidInputError:
    return InvalidInputError(
        message, field="model", remedy="Give a file that `perfopt train --what forecast` wrote."
    )
