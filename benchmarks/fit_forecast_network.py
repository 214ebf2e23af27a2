"""Trains the fleet network of perfopt.forecast and writes its file and model card.

    python benchmarks/fit_forecast_network.py --traces DIR [--out FILE]

Needs TensorFlow and SciPy. Reads the tuning half of the traces only (see forecast_traces.py), none of the
data that may not go into the product: rows of equity bars, of which the tuning half holds three months of
one share, are forecast to judge and calibrate by, and never trained on (NOT_FOR_PRODUCT).

Calibration is out of fold: for each quarter of the measured series, a network trained without it forecasts
it, and the levels that its quantiles really have there, on loads (LOADS), become `theta` (see
perfopt.forecast.conformal).
The same data and seed give the same bytes on the same machine.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from statistics import NormalDist

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from forecast_rows import GENERATED, HISTORY_DAYS, Rows, collect
from numpy.typing import NDArray

import perfopt.forecast
from perfopt.forecast.conformal import transform
from perfopt.forecast.experts import COUNT, LEVELS
from perfopt.forecast.features import NetworkInputs
from perfopt.forecast.network import GROUPS, FleetNetwork, group_of

Array = NDArray[np.float64]
WIDTH = 64
LAYERS = 2
MEMBERS = 3
FOLDS = 4
EPOCHS = 8
BATCH = 1024
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
MAX_WEIGHT = 50.0
BY_USE = 0.5  # share of the loss that counts by use, see row_weights
MAX_LOSS = 30.0  # of a series' mean: one row's say
SHRINK = 300  # rows at which half of the calibration is believed
NORMAL = NormalDist()
# Calibrated on: memory hardly scatters and traffic of networks stands still for hours, unlike these.
LOADS = ("bitbrains_cpu", "nab_aws", "request_rates", "market_activity")
NOT_FOR_PRODUCT = ("worldcup98", "equity-15min", "index-future")


def row_weights(rows: Rows) -> Array:
    """Returns the weight of each row's error, which is counted in units of its history's scale.

    Half of it is one over the mean error of the base over the series, so that all series count alike, as
    in a geometric mean of ratios; half is one over the mean error over the dataset, so that those that use
    much count by what they use, as in a ratio of sums. Generated series only count alike.
    """
    error = np.abs(rows.outcome - np.sinh(rows.inputs.base))
    alike, by_use = np.zeros(error.size), np.zeros(error.size)
    for number in np.unique(rows.series):
        chosen = rows.series == number
        alike[chosen] = 1 / max(_typical(error[chosen]), 1e-6)
    for dataset, numbers in _by_dataset(rows).items():
        typical = [_typical((error * rows.scale)[rows.series == number]) for number in numbers]
        chosen = np.array([name == dataset for name, _ in rows.names])[rows.series]
        by_use[chosen] = rows.scale[chosen] / np.mean(typical)
    generated = np.array([name == "generated" for name, _ in rows.names])[rows.series]
    by_use = np.where(generated, alike, by_use)
    return (1 - BY_USE) * np.minimum(alike, MAX_WEIGHT) + BY_USE * np.minimum(by_use, MAX_WEIGHT)


def _typical(error: Array) -> float:
    return float(np.minimum(error, np.quantile(error, 0.995)).mean())


def _quantiles(raw, base, unit, experts):
    """Returns what FleetNetwork makes of one member's output, unsorted, in units of scale."""
    count, middle = len(LEVELS), len(LEVELS) // 2
    gaps = tf.nn.softplus(raw[:, :count])
    centre = raw[:, middle : middle + 1]
    below = tf.reverse(tf.cumsum(tf.reverse(gaps[:, :middle], [1]), axis=1), [1])
    steps = tf.concat([centre - below, centre, centre + tf.cumsum(gaps[:, middle + 1 :], axis=1)], 1)
    own = base[:, None] + unit[:, None] * steps
    offered = tf.concat([experts, own[:, None]], 1)
    trust = tf.nn.softmax(tf.reshape(raw[:, count:], (-1, COUNT + 1, count)), axis=1)
    return tf.sinh(tf.clip_by_value(tf.reduce_sum(trust * offered, axis=1), -14.0, 14.0))


def train(rows: Rows, weights: Array, chosen: NDArray[np.int64], seed: int) -> dict[str, NDArray]:
    """Returns the arrays of one member trained on the chosen rows."""
    tf.keras.utils.set_random_seed(seed)
    read = rows.inputs.features
    mean = read[chosen].mean(axis=0)
    deviation = read[chosen].std(axis=0) + 1e-3
    scaled = np.clip((read - mean) / deviation, -4, 4)
    hidden = [tf.keras.layers.Dense(WIDTH, activation="relu") for _ in range(LAYERS)]
    model = tf.keras.Sequential(
        [tf.keras.Input((scaled.shape[1],)), *hidden, tf.keras.layers.Dense(len(LEVELS) * (COUNT + 2))]
    )
    steps = chosen.size // BATCH
    schedule = tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, EPOCHS * steps)
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, global_clipnorm=1.0)
    columns = (scaled, rows.inputs.base, rows.inputs.unit, rows.inputs.experts, rows.outcome, weights)
    single = (tf.constant(column.astype(np.float32)) for column in columns)
    inputs, base, unit, experts, outcome, weight = single
    tau = tf.constant(np.array(LEVELS, dtype=np.float32))

    @tf.function
    def step(picked):
        with tf.GradientTape() as tape:
            read = (tf.gather(column, picked) for column in (base, unit, experts))
            made = _quantiles(model(tf.gather(inputs, picked)), *read)
            error = tf.gather(outcome, picked)[:, None] - made
            each = tf.maximum(tau * error, (tau - 1) * error) * tf.gather(weight, picked)[:, None]
            loss = tf.reduce_mean(tf.minimum(each, MAX_LOSS))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = chosen[rng.permutation(chosen.size)]
        for number in range(steps):
            step(tf.constant(order[number * BATCH : (number + 1) * BATCH]))
    arrays = [variable.numpy() for variable in model.trainable_variables]
    found = {"mean": mean, "deviation": deviation}
    for number in range(LAYERS + 1):
        found[f"weights_{number}"], found[f"bias_{number}"] = arrays[2 * number], arrays[2 * number + 1]
    return found


def ensemble(rows: Rows, weights: Array, chosen: NDArray[np.int64], members: int, seed: int) -> dict:
    """Returns the arrays of a network of several members, its calibration still the identity."""
    trained = [train(rows, weights, chosen, seed + number) for number in range(members)]
    found = {name: np.stack([member[name] for member in trained]) for name in trained[0] if "_" in name}
    found |= {"mean": trained[0]["mean"], "deviation": trained[0]["deviation"]}
    return found | {"theta": np.tile(LEVELS, (GROUPS, 1))}


def folds(rows: Rows) -> Array:
    """Returns the fold of each row: by the VM's name where there is one, -1 for generated series."""
    of_series = [
        -1 if dataset == "generated" else hashlib.sha256(f"fold/{name}".encode()).digest()[0] % FOLDS
        for dataset, name in rows.names
    ]
    return np.array(of_series)[rows.series]


def _picked(inputs: NetworkInputs, chosen: NDArray[np.int64]) -> NetworkInputs:
    return NetworkInputs(
        inputs.features[chosen], inputs.base[chosen], inputs.unit[chosen], inputs.experts[chosen]
    )


def calibration(rows: Rows, weights: Array, allowed: NDArray[np.bool_]) -> tuple[Array, dict[str, object]]:
    """Returns theta by group from out-of-fold transforms, and the figures of the card."""
    fold = folds(rows)
    probits = np.full(rows.series.size, np.nan)
    losses = np.full(rows.series.size, np.nan)
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        chosen = np.flatnonzero((fold != number) & allowed)
        network = FleetNetwork.from_arrays(ensemble(rows, weights, chosen, MEMBERS, 100 * number + 7))
        made = network.z_quantiles(_picked(rows.inputs, held))
        probits[held] = transform(made, np.arcsinh(rows.outcome[held]), LEVELS)
        error = rows.outcome[held][:, None] - np.sinh(made)
        tau = np.array(LEVELS)
        losses[held] = np.minimum(
            np.maximum(tau * error, (tau - 1) * error).mean(axis=1) * weights[held], MAX_LOSS
        )
    groups = group_of(rows.seconds, rows.inputs, rows.days)
    loads = np.array([dataset in LOADS for dataset, _ in rows.names])[rows.series]
    theta = np.array([_theta(probits, rows.series, loads & (groups == group)) for group in range(GROUPS)])
    by_set = {
        dataset: round(float(np.mean([losses[rows.series == n].mean() for n in numbers])), 4)
        for dataset, numbers in _by_dataset(rows).items()
    }
    return theta, {"held_out_loss_over_base_error": by_set}


def _by_dataset(rows: Rows) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    present = set(np.unique(rows.series).tolist())
    for number, (dataset, _) in enumerate(rows.names):
        if dataset != "generated" and number in present:
            found.setdefault(dataset, []).append(number)
    return found


def _theta(probits: Array, series: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Array:
    """Returns the levels that hold LEVELS of the outcomes, every series alike, shrunk to LEVELS."""
    used = chosen & np.isfinite(probits)
    found, numbers = probits[used], series[used]
    counts = np.bincount(numbers)
    order = np.argsort(found)
    share = np.cumsum((1 / counts[numbers])[order])
    share /= share[-1]
    at = found[order][np.searchsorted(share, LEVELS)]
    cdf = np.array([NORMAL.cdf(value) for value in at])
    belief = found.size / (found.size + SHRINK)
    return np.maximum.accumulate(belief * cdf + (1 - belief) * np.array(LEVELS))


def main() -> None:
    """Trains, calibrates, writes, and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    default = Path(perfopt.forecast.__file__).with_name("fleet.npz")
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    began = time.monotonic()
    rows = collect(arguments.traces)
    print(
        f"{rows.series.size} rows of {len(rows.names)} series, {time.monotonic() - began:.0f} s", flush=True
    )
    weights = row_weights(rows)
    product = np.array([not name.startswith(NOT_FOR_PRODUCT) for _, name in rows.names])[rows.series]
    arrays = ensemble(rows, weights, np.flatnonzero(product), MEMBERS, 7)
    print(f"trained, {time.monotonic() - began:.0f} s", flush=True)
    arrays["theta"], figures = calibration(rows, weights, product)
    np.savez(arguments.out, **arrays)
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    card = {
        "file": arguments.out.name,
        "sha256": digest,
        "made_by": "python benchmarks/fit_forecast_network.py --traces DIR",
        "what": f"{MEMBERS} networks of {LAYERS} x {WIDTH} units, {rows.inputs.features.shape[1]} features: "
        f"quantiles of their own and trust in {COUNT} distributions of the past",
        "levels": LEVELS,
        "history_days": sorted(set(HISTORY_DAYS)),
        "measured_series": {name: len(found) for name, found in _by_dataset(rows).items()},
        "generated_series": {kind: number for kind, (number, _) in GENERATED.items()},
        "sources": {
            "bitbrains": "GWA-T-12 Bitbrains rnd (BSD-2), tuning half; Shen, van Beek, Iosup, CCGRID 2015",
            "nab": "Numenta Anomaly Benchmark (MIT): AWS metrics; ticker mentions of CRM, PFE and UPS",
            "nasa": "NASA-HTTP July 1995, Internet Traffic Archive (freely redistributable)",
        },
        "not_in_it": "World Cup 98, equity and index future data; VMs of the reporting half",
        "split": "by series: see benchmarks/forecast_traces.py; calibration out of fold over measured series",
        **figures,
    }
    arguments.out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures), np.round(arrays["theta"], 4), f"{time.monotonic() - began:.0f} s", sep="\n")


if __name__ == "__main__":
    main()
