"""Fits the fleet network in TensorFlow. The same rows and seed give the same bytes on the same machine."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.experts import COUNT, LEVELS
from perfopt.forecast.network import GROUPS
from perfopt.forecast.training.rows import TrainingRows
from perfopt.metrics.snapshot import Array
from perfopt.plugin.array_file import read_arrays, write_arrays
from perfopt.plugin.models import compute

WIDTH = 64
LAYERS = 2
BATCH = 1024
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
MAX_WEIGHT = 50.0
BY_USE = 0.5  # share of the loss that counts by use, see row_weights
MAX_LOSS = 30.0  # of a row, in mean errors of its series
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EnsembleFit:
    """How networks that are averaged are trained.

    Attributes:
        networks: how many.
        epochs: how often each sees each row.
        after_epoch: called after each epoch of each network that is trained.
        once: see TrainingRequest.
    """

    networks: int
    epochs: int
    after_epoch: Callable[[], object] = lambda: None
    once: Callable[[str, Callable[[], bytes]], bytes] = compute


def tensorflow() -> Any:
    """Returns the module, on one thread and deterministic."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        threading.set_intra_op_parallelism_threads(1)
        threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    return tf


def row_weights(rows: TrainingRows) -> Array:
    """Returns the weight of each row's error, which is counted in units of its history's scale.

    Half of it is one over the mean error of the base over the series, so that all series count alike, as
    in a geometric mean of ratios; half is one over the mean error over the metric, so that those that use
    much count by what they use, as in a ratio of sums. Generated series only count alike.
    """
    error = np.abs(rows.outcome - np.sinh(rows.inputs.base))
    alike = np.zeros(error.size)
    for number in np.unique(rows.series):
        chosen = rows.series == number
        alike[chosen] = 1 / max(typical_error(error[chosen]), 1e-6)
    by_use = alike.copy()
    for metric in rows.metrics:
        numbers = rows.of(metric)
        typical = [typical_error((error * rows.scale)[rows.series == number]) for number in numbers]
        chosen = np.isin(rows.series, numbers)
        by_use[chosen] = rows.scale[chosen] / max(float(np.mean(typical)), 1e-300)
    weights: Array = (1 - BY_USE) * np.minimum(alike, MAX_WEIGHT) + BY_USE * np.minimum(by_use, MAX_WEIGHT)
    return weights


def typical_error(error: Array) -> float:
    """Returns the mean of errors, each capped at the largest but one in 200."""
    return float(np.minimum(error, np.quantile(error, 0.995)).mean())


def ensemble(
    rows: TrainingRows, weights: Array, chosen: NDArray[np.int64], fit: EnsembleFit, seed: int, *, part: str
) -> Arrays:
    """Returns the arrays of networks trained on the chosen rows, not yet calibrated.

    Args:
        rows: of all series.
        weights: of the rows.
        chosen: the rows trained on.
        fit: how.
        seed: of the first network, one more for each that follows.
        part: names these rows among those of the same training.
    """

    def trained_with(one: int) -> Arrays:
        def network() -> bytes:
            return write_arrays(_train(rows, weights, chosen, fit, one), {"seed": one})

        return read_arrays(fit.once(f"{part}-{one}", network))

    trained = [trained_with(seed + number) for number in range(fit.networks)]
    arrays: Arrays = {
        name: np.stack([member[name] for member in trained]) for name in trained[0] if "_" in name
    }
    arrays |= {"mean": trained[0]["mean"], "deviation": trained[0]["deviation"]}
    return arrays | {"theta": np.tile(LEVELS, (GROUPS, 1))}


def _train(
    rows: TrainingRows, weights: Array, chosen: NDArray[np.int64], fit: EnsembleFit, seed: int
) -> Arrays:
    """Returns the arrays of one network trained on the chosen rows."""
    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    read = rows.inputs.features
    mean, deviation = read[chosen].mean(axis=0), read[chosen].std(axis=0) + 1e-3
    scaled = np.clip((read - mean) / deviation, -4, 4)
    layers = [tf.keras.layers.Dense(WIDTH, activation="relu") for _ in range(LAYERS)]
    layers.append(tf.keras.layers.Dense(len(LEVELS) * (COUNT + 2)))
    model = tf.keras.Sequential([tf.keras.Input((scaled.shape[1],)), *layers])
    batch = min(BATCH, chosen.size)
    steps = chosen.size // batch
    step = _training_step(tf, model, _columns(tf, rows, scaled, weights), fit.epochs * steps)
    rng = np.random.default_rng(seed)
    for _ in range(fit.epochs):
        order = chosen[rng.permutation(chosen.size)]
        for number in range(steps):
            step(tf.constant(order[number * batch : (number + 1) * batch]))
        fit.after_epoch()
    arrays: Arrays = {"mean": mean, "deviation": deviation}
    for number, layer in enumerate(layers):
        arrays[f"weights_{number}"], arrays[f"bias_{number}"] = layer.get_weights()
    return arrays


def _columns(tf: Any, rows: TrainingRows, scaled: NDArray[Any], weights: Array) -> tuple[Any, ...]:
    inputs = rows.inputs
    columns = (scaled, inputs.base, inputs.unit, inputs.experts, rows.outcome, weights)
    return tuple(tf.constant(column.astype(np.float32)) for column in columns)


def _training_step(tf: Any, model: Any, columns: tuple[Any, ...], steps: int) -> Any:
    """Returns the function that trains on the rows of the numbers given to it."""
    schedule = tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, global_clipnorm=1.0)
    tau = tf.constant(np.array(LEVELS, dtype=np.float32))

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(picked: Any) -> None:
        inputs, base, unit, experts, outcome, weight = (tf.gather(column, picked) for column in columns)
        with tf.GradientTape() as tape:
            error = outcome[:, None] - _quantiles(tf, model(inputs), base, unit, experts)
            each = tf.maximum(tau * error, (tau - 1) * error) * weight[:, None]
            loss = tf.reduce_mean(tf.minimum(each, MAX_LOSS))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    return step


def _quantiles(tf: Any, raw: Any, base: Any, unit: Any, experts: Any) -> Any:
    """Returns what `FleetNetwork` makes of one network's output, unsorted, in units of scale."""
    count, middle = len(LEVELS), len(LEVELS) // 2
    gaps = tf.nn.softplus(raw[:, :count])
    centre = raw[:, middle : middle + 1]
    below = tf.reverse(tf.cumsum(tf.reverse(gaps[:, :middle], [1]), axis=1), [1])
    steps = tf.concat([centre - below, centre, centre + tf.cumsum(gaps[:, middle + 1 :], axis=1)], 1)
    own = base[:, None] + unit[:, None] * steps
    offered = tf.concat([experts, own[:, None]], 1)
    trust = tf.nn.softmax(tf.reshape(raw[:, count:], (-1, COUNT + 1, count)), axis=1)
    return tf.sinh(tf.clip_by_value(tf.reduce_sum(trust * offered, axis=1), -14.0, 14.0))
