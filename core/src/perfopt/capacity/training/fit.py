"""Fits the networks of the latency surrogate to simulated services. Needs scikit-learn."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.neural_network import MLPRegressor

from perfopt.capacity.law import ReplicaLoad, ServiceParameters, closed_forms
from perfopt.metrics.snapshot import Array
from perfopt.plugin.models import compute

MIN_REQUESTS, LONGEST_SECONDS, BUSIEST = 15, 8.0, 0.995
# The mean of log|error| is that much below the logarithm of the standard deviation, for normal errors.
_LOG_ABSOLUTE = 0.635
_QUANTILE_ROUNDS, _SPREAD_ROUNDS = 60, 12
STORED_ROUNDS = 12  # after as many an interrupted fit can go on
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


def fit(
    given: Array,
    targets: Array,
    after_round: Callable[[], object] = lambda: None,
    once: Callable[[str, Callable[[], bytes]], bytes] = compute,
) -> FittedSurrogate:
    """Fits both networks to nine services in ten.

    Args:
        given: the surrogate's inputs.
        targets: its targets.
        after_round: called after each of ROUNDS that is computed.
        once: see TrainingRequest.
    """
    kept_out = np.arange(len(given)) % 10 == 0
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    scaled, centre = ((given - mean) / deviation).astype(np.float32), targets.mean(axis=0)
    learnt = ~kept_out
    quantiles = _fitted(
        _NetworkFit("quantiles", (64, 48), _QUANTILE_ROUNDS, after_round, once),
        scaled[learnt],
        targets[learnt] - centre,
    )
    misses = quantiles.predict(scaled) + centre - targets
    logs = np.log(np.abs(misses) + 0.002)
    typical = logs[kept_out].mean(axis=0)
    spread = _fitted(
        _NetworkFit("spread", (24,), _SPREAD_ROUNDS, after_round, once),
        scaled[learnt],
        logs[learnt] - logs[learnt].mean(axis=0),
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


@dataclass(frozen=True, slots=True)
class _NetworkFit:
    """How one network is fitted."""

    name: str
    sizes: tuple[int, ...]
    rounds: int
    after_round: Callable[[], object]
    once: Callable[[str, Callable[[], bytes]], bytes]


def _fitted(how: _NetworkFit, inputs: Array, targets: Array) -> MLPRegressor:
    """Fits a network: most rounds at a high rate of learning, a fifth more at a tenth of it."""
    network = MLPRegressor(
        hidden_layer_sizes=how.sizes, alpha=1e-5, batch_size=1024, learning_rate_init=2e-3,
        random_state=np.random.RandomState(0), tol=0, n_iter_no_change=999,
    )  # fmt: skip
    targets = targets.astype(np.float32)  # as the inputs are: half the time, and the file has no more digits
    for first in range(0, how.rounds, STORED_ROUNDS):
        rounds = min(STORED_ROUNDS, how.rounds - first)
        content = how.once(f"{how.name}-{first}", partial(_advanced, network, inputs, targets, rounds, how))
        network = pickle.loads(content)  # noqa: S301  what this function wrote before an interruption
    network.set_params(learning_rate_init=2e-4, warm_start=True, max_iter=how.rounds // _SLOW)
    network.fit(inputs, targets)
    for _ in range(how.rounds // _SLOW):
        how.after_round()
    return network


def _advanced(network: MLPRegressor, inputs: Array, targets: Array, rounds: int, how: _NetworkFit) -> bytes:
    for _ in range(rounds):
        network.partial_fit(inputs, targets)
        how.after_round()
    return pickle.dumps(network, protocol=5)


def _arrays(name: str, network: MLPRegressor, offset: Array) -> dict[str, Array]:
    """Returns the weights of a network as the surrogate reads them, with an offset added to its outputs."""
    biases = [*network.intercepts_[:-1], network.intercepts_[-1] + offset]
    weights = {f"{name}_weights_{i}": w.astype(np.float32) for i, w in enumerate(network.coefs_)}
    return weights | {f"{name}_bias_{i}": b.astype(np.float32) for i, b in enumerate(biases)}
