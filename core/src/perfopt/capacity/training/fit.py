"""Fits the networks of the latency surrogate to simulated services. Needs scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.neural_network import MLPRegressor

from perfopt.capacity.law import ReplicaLoad, ServiceParameters, closed_forms
from perfopt.metrics.snapshot import Array

MIN_REQUESTS, LONGEST_SECONDS, BUSIEST = 15, 8.0, 0.995
# The mean of log|error| is that much below the logarithm of the standard deviation, for normal errors.
_LOG_ABSOLUTE = 0.635
_QUANTILE_ROUNDS, _SPREAD_ROUNDS = 60, 12
_SLOW = 5  # one round at a low rate of learning for as many at a high one
ROUNDS = sum(rounds + rounds // _SLOW for rounds in (_QUANTILE_ROUNDS, _SPREAD_ROUNDS))
_OUTPUTS = ("p50", "p90", "p95", "p99", "throttled share")


@dataclass(frozen=True, slots=True)
class FittedSurrogate:
    """Arrays of the surrogate's file, and errors on the tenth of the services that was kept out."""

    arrays: dict[str, Array]
    errors: dict[str, float]


def examples(inputs: Array, outputs: Array) -> tuple[Array, Array]:
    """Returns the surrogate's inputs and targets, for the realised rate and CPU of each window.

    Args:
        inputs: of `simulate`.
        outputs: of `simulate`.
    """
    completed, used, p99 = outputs[:, 0], outputs[:, 1], outputs[:, 6]
    good = (
        (completed >= MIN_REQUESTS) & (p99 < LONGEST_SECONDS) & (used > 0) & (used < BUSIEST * inputs[:, 7])
    )
    given, out = inputs[good], outputs[good]
    rate = out[:, 0] / given[:, 10]
    load = ReplicaLoad(rate, out[:, 1], given[:, 7], given[:, 10])
    service = ServiceParameters(
        given[:, 2], given[:, 3], given[:, 4], given[:, 5], given[:, 6], given[:, 8], given[:, 9]
    )
    base = out[:, 1] / rate + given[:, 5]
    return closed_forms(service, load), np.c_[np.log(out[:, 3:7] / base[:, None]), 2 * out[:, 2]]


def fit(given: Array, wanted: Array, after_round: Callable[[], object] = lambda: None) -> FittedSurrogate:
    """Fits both networks to nine services in ten.

    Args:
        given: the surrogate's inputs.
        wanted: its targets.
        after_round: called after each of ROUNDS.
    """
    kept_out = np.arange(len(given)) % 10 == 0
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    scaled, centre = ((given - mean) / deviation).astype(np.float32), wanted.mean(axis=0)
    quantiles = _network(
        (64, 48), scaled[~kept_out], wanted[~kept_out] - centre, _QUANTILE_ROUNDS, after_round
    )
    misses = quantiles.predict(scaled) + centre - wanted
    logs = np.log(np.abs(misses) + 0.002)
    typical = logs[kept_out].mean(axis=0)
    spread = _network(
        (24,), scaled[~kept_out], logs[~kept_out] - logs[~kept_out].mean(axis=0), _SPREAD_ROUNDS, after_round
    )
    arrays: dict[str, Array] = {
        "mean": mean.astype(np.float32),
        "deviation": deviation.astype(np.float32),
        **_arrays("layer", quantiles, centre),
        **_arrays("spread", spread, typical + _LOG_ABSOLUTE),
    }
    medians = np.median(np.abs(misses[kept_out]), axis=0)
    errors = {f"median |log error| of {name}": float(e) for name, e in zip(_OUTPUTS, medians, strict=True)}
    return FittedSurrogate(arrays, errors)


def _network(
    sizes: tuple[int, ...], given: Array, wanted: Array, rounds: int, after_round: Callable[[], object]
) -> MLPRegressor:
    """Fits a network: most rounds at a high rate of learning, a fifth more at a tenth of it."""
    network = MLPRegressor(
        hidden_layer_sizes=sizes, alpha=1e-5, batch_size=1024, learning_rate_init=2e-3,
        random_state=np.random.RandomState(0), tol=0, n_iter_no_change=999,
    )  # fmt: skip
    wanted = wanted.astype(np.float32)  # as the inputs are: half the time, and the file has no more digits
    for _ in range(rounds):
        network.partial_fit(given, wanted)
        after_round()
    network.set_params(learning_rate_init=2e-4, warm_start=True, max_iter=rounds // _SLOW)
    network.fit(given, wanted)
    for _ in range(rounds // _SLOW):
        after_round()
    return network


def _arrays(name: str, network: MLPRegressor, offset: Array) -> dict[str, Array]:
    """Returns the weights of a network as the surrogate reads them, with an offset added to its outputs."""
    biases = [*network.intercepts_[:-1], network.intercepts_[-1] + offset]
    weights = {f"{name}_weights_{i}": w.astype(np.float32) for i, w in enumerate(network.coefs_)}
    return weights | {f"{name}_bias_{i}": b.astype(np.float32) for i, b in enumerate(biases)}
