"""Whether a network over the hours of a history tells what the trees of the sizing model do not.

    python benchmarks/sizing_network.py --traces DIR [--until-day 70] [--half tune]

Needs TensorFlow. On bitbrains_rnd, with 5 folds over VMs: trees learn as in `train_sizing.py` from what had
ended before the day; then a network learns to correct their log-odds, so that all it can learn is what they
miss. The trees that it corrects never saw the VM. Both are asked on every later day about the week after it,
of VMs that neither saw, and the logarithmic loss of P(need <= size) is averaged over log(size / reference)
from 0 to 3.5.

Two networks: one sees the features of the trees only, the other also the 336 hours before (of the logarithms
of CPU and memory the mean and the maximum, and what is missing), as a mixer over 14 days. Each is an average
of members that hold out another quarter of their VMs, and stop at the epoch that is best there: epoch 0, no
correction, is one of them. Intervals are by bootstrap over VMs. Same data and seed, same figures on the same
machine.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from train_sizing import series_of
from walk_traces import split_of

from perfopt.learn.examples import Examples, Series, collect, example
from perfopt.learn.features import RESOURCES
from perfopt.learn.train import GRID, fold_of, train_trees

Array = NDArray[np.floating]
Rows = NDArray[np.int64]
FOLDS, MEMBERS, EPOCHS, BATCH, PER_EPOCH = 5, 2, 6, 128, 4000
DAYS, HOURS, WIDTH, DROPPED = 14, 24, 32, 0.3
DAY = 86400
WEEK = 7 * DAY
KNOTS = np.array([-1.0, -0.4, 0.0, 0.25, 0.6, 1.1, 1.8, 3.0])
HATS = np.stack([np.interp(GRID, KNOTS, one) for one in np.eye(len(KNOTS))]).astype(np.float32)
WIDTHS = np.gradient(GRID)
UPPER = np.where(GRID >= 0, WIDTHS, 0) / WIDTHS[GRID >= 0].sum()
LEARNT = np.where(GRID >= 0, WIDTHS, 0.3 * WIDTHS).astype(np.float32)


@dataclass(frozen=True)
class Table:
    """What networks see and what came of it, one row for each instant.

    Attributes:
        hours: the 336 before the instant, oldest first, shape (n, 336, 5).
        features: of the trees, shape (n, features).
        odds: log-odds that trees that never saw the VM give, shape (n, 2, sizes).
        enough: whether a size was, shape (n, 2, sizes).
        examples: of the rows.
    """

    hours: Array
    features: Array
    odds: Array
    enough: NDArray[np.bool_]
    examples: Examples

    def where(self, kept: NDArray[np.bool_]) -> "Table":
        """Returns the rows that are kept."""
        arrays = (self.hours, self.features, self.odds, self.enough)
        return Table(*(values[kept] for values in arrays), self.examples.where(kept))


def every_day(series: Iterable[Series]) -> Examples:
    """Returns the examples of a week's validity of every day that has a week before it."""
    found = []
    for one in series:
        day, week = DAY // one.grid.step_seconds, WEEK // one.grid.step_seconds
        starts = range(week, one.grid.size - week + 1, day)
        found += [row for row in (example(one, start, WEEK) for start in starts) if row is not None]
    return Examples.of(found)


def hours_of(series: dict[str, Series], examples: Examples) -> Array:
    """Returns the hours before each instant, shape (n, 336, 5)."""
    found = np.zeros((len(examples.at), DAYS * HOURS, 5), dtype=np.float16)
    for row, name in enumerate(examples.series):
        one = series[str(name)]
        index = round((float(examples.at[row]) - one.grid.start.timestamp()) / one.grid.step_seconds)
        columns: list[Array] = []
        for resource, values in (("cpu", one.cpu_cores), ("memory", one.memory_bytes)):
            assert values is not None
            hour = DAY // HOURS // one.grid.step_seconds
            columns += _hours(values[0, :index], hour, examples.seen[row].references[resource])
        found[row, :, :4] = np.clip(np.nan_to_num(np.stack(columns, axis=1)), -5, 2.5)
        found[row, :, 4] = np.isnan(columns[0])
    return found


def _hours(values: Array, hour: int, reference: float) -> tuple[Array, Array]:
    """Returns the mean of log(use / reference) of the latest hours, and its maximum; NaN where unknown."""
    size = DAYS * HOURS * hour
    latest = np.full(size, np.nan)
    kept = values[-size:]
    latest[size - len(kept) :] = np.log(np.maximum(kept, reference * 1e-3) / reference)
    rows = latest.reshape(-1, hour)
    known = np.isfinite(rows)
    nothing = ~known.any(axis=1)
    highest = np.where(known, rows, -np.inf).max(axis=1)
    mean = np.where(known, rows, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(nothing, np.nan, mean), np.where(nothing, np.nan, highest)


def table_of(traces: Path, until_day: int) -> tuple[Table, float]:
    """Returns the rows of all VMs, with odds of trees that saw none of the VM, and the instant of the day."""
    series = {one.name: one for one in series_of(traces / "bitbrains_rnd.parquet", None)}
    until = next(iter(series.values())).grid.start.timestamp() + until_day * DAY
    learnt, asked = collect(series.values()), every_day(series.values())
    learnt = learnt.where(learnt.at + learnt.validity <= until)
    asked = asked.where((asked.at + WEEK <= until) | (asked.at >= until))
    odds = np.zeros((len(asked.at), len(RESOURCES), len(GRID)), dtype=np.float16)
    learnt_fold, fold = fold_of(learnt.series, FOLDS), fold_of(asked.series, FOLDS)
    for held in range(FOLDS):
        trees = train_trees(learnt.where(learnt_fold != held))
        for row in np.flatnonzero(fold == held):
            for number, resource in enumerate(RESOURCES):
                curve = trees[resource].probabilities(asked.features[row], GRID + 1e-9)
                odds[row, number] = _odds(curve)
    needs = np.stack([asked.needs[resource] for resource in RESOURCES], axis=1)
    enough = needs[:, :, None] <= GRID + 1e-9
    return Table(hours_of(series, asked), asked.features, odds, enough, asked), until


def _odds(probability: Array) -> Array:
    clipped = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def losses(odds: Array, enough: NDArray[np.bool_]) -> Array:
    """Returns the mean logarithmic loss over the upper range of sizes, shape (n, 2)."""
    probability = np.clip(1 / (1 + np.exp(-odds.astype(np.float64))), 1e-3, 1 - 1e-3)
    found: Array = -np.log(np.where(enough, probability, 1 - probability)) @ UPPER
    return found


def network(seen: int, with_hours: bool) -> tf.keras.Model:
    """Returns a network from hours and features to corrections at KNOTS, all zero before it is trained."""
    layers = tf.keras.layers
    hours, features = tf.keras.Input((DAYS * HOURS, 5)), tf.keras.Input((seen,))
    known = layers.Dense(WIDTH, activation="gelu")(features)
    if with_hours:
        known = layers.Concatenate()([layers.Dropout(DROPPED)(known), _mixed(hours)])
    hidden = layers.Dense(48, activation="gelu")(layers.Dropout(DROPPED)(known))
    out = layers.Dense(len(RESOURCES) * len(KNOTS), kernel_initializer="zeros")(
        layers.Dropout(DROPPED)(hidden)
    )
    return tf.keras.Model([hours, features], layers.Reshape((len(RESOURCES), len(KNOTS)))(out))


def _mixed(hours: tf.Tensor) -> tf.Tensor:
    """Returns what two blocks of a mixer (over days, then over what is known of a day) make of the hours."""
    layers = tf.keras.layers
    days = layers.Dense(WIDTH)(layers.Reshape((DAYS, HOURS * 5))(hours))
    for _ in range(2):
        turned = layers.Permute((2, 1))(layers.LayerNormalization()(days))
        turned = layers.Dropout(DROPPED)(layers.Dense(DAYS, activation="gelu")(turned))
        days = layers.Add()([days, layers.Permute((2, 1))(turned)])
        wide = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(days))
        days = layers.Add()([days, layers.Dropout(DROPPED)(layers.Dense(WIDTH)(wide))])
    latest = layers.Cropping1D((DAYS - 1, 0))(days)
    pooled = (
        layers.GlobalAveragePooling1D()(days),
        layers.GlobalMaxPooling1D()(days),
        layers.Flatten()(latest),
    )
    return layers.Dropout(DROPPED)(layers.Concatenate()(pooled))


def member(learnt: Table, held: NDArray[np.bool_], seed: int, with_hours: bool) -> tf.keras.Model:
    """Returns a network trained on the rows that are not held, at its best epoch on those that are."""
    tf.keras.utils.set_random_seed(seed)
    made = network(learnt.features.shape[1], with_hours)
    steps = PER_EPOCH // BATCH
    schedule = tf.keras.optimizers.schedules.CosineDecay(1.5e-3, EPOCHS * steps)
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=1e-2, global_clipnorm=1.0)
    hats, weights = tf.constant(HATS), tf.constant(LEARNT)

    @tf.function(reduce_retracing=True)
    def step(hours, features, odds, enough):
        with tf.GradientTape() as tape:
            given = made([hours, features], training=True)
            corrected = odds + tf.einsum("nrk,kg->nrg", given, hats)
            each = tf.nn.sigmoid_cross_entropy_with_logits(enough, corrected) * weights
            loss = tf.reduce_mean(tf.reduce_sum(each, [1, 2])) + 3e-3 * tf.reduce_mean(tf.square(given))
        gradients = tape.gradient(loss, made.trainable_variables)
        optimizer.apply_gradients(zip(gradients, made.trainable_variables, strict=True))

    judged = learnt.where(held)
    best, kept = losses(judged.odds, judged.enough).mean(), made.get_weights()
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(~held)
    for _ in range(EPOCHS):
        for batch in rng.choice(rows, (steps, BATCH)):
            step(*_batch(learnt, batch))
        loss = losses(judged.odds + corrections(made, judged), judged.enough).mean()
        if loss < best:
            best, kept = loss, made.get_weights()
    made.set_weights(kept)
    return made


def _batch(table: Table, rows: Rows) -> tuple[Array, ...]:
    arrays = (table.hours, table.features, table.odds, table.enough)
    return tuple(values[rows].astype(np.float32) for values in arrays)


def corrections(made: tf.keras.Model, table: Table) -> Array:
    """Returns what a network adds to the log-odds, shape (n, 2, sizes)."""
    inputs = [table.hours.astype(np.float32), table.features]
    found: Array = made.predict(inputs, batch_size=1024, verbose=0) @ HATS
    return found


def _standardised(table: Table, learnt: NDArray[np.bool_]) -> Table:
    mean = np.nanmean(table.features[learnt], axis=0)
    scaled = (table.features - mean) / (np.nanstd(table.features[learnt], axis=0) + 1e-6)
    unknown = ~np.isfinite(scaled)
    scaled = np.clip(np.where(unknown, 0, scaled), -3, 3)
    return replace(table, features=np.concatenate([scaled, unknown], axis=1).astype(np.float32))


def corrected(table: Table, until: float, with_hours: bool) -> Iterator[tuple[Rows, Array]]:
    """Yields of each fold the later rows, and their log-odds as corrected by networks that saw none of it."""
    fold = fold_of(table.examples.series, FOLDS)
    past = table.examples.at < until
    for held in range(FOLDS):
        scaled = _standardised(table, past & (fold != held))
        learnt = scaled.where(past & (fold != held))
        asked = ~past & (fold == held)
        rest = [other for other in range(FOLDS) if other != held][:MEMBERS]
        learnt_fold = fold_of(learnt.examples.series, FOLDS)
        added = [
            corrections(member(learnt, learnt_fold == stop, seed, with_hours), scaled.where(asked))
            for seed, stop in enumerate(rest)
        ]
        odds = table.odds[asked] + np.mean(added, axis=0)
        yield np.flatnonzero(asked), np.maximum.accumulate(odds, axis=2)  # a larger size is never less enough


def change(before: Array, after: Array, names: NDArray[np.str_]) -> str:
    """Returns the relative change of the mean with its 95 % interval by bootstrap over VMs."""
    unique, owner = np.unique(names, return_inverse=True)
    old, new = (np.bincount(owner, values) for values in (before, after))
    drawn = np.random.default_rng(0).integers(len(unique), size=(1000, len(unique)))
    ratios = new[drawn].sum(axis=1) / old[drawn].sum(axis=1) - 1
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{new.sum() / old.sum() - 1:+.1%} ({low:+.1%} to {high:+.1%})"


def main() -> None:
    """Prints a line for the trees, for each network, and for the average of its odds and the trees'."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--until-day", type=int, default=70)
    parser.add_argument("--half", choices=("tune", "report"))
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    began = time.monotonic()
    table, until = table_of(arguments.traces, arguments.until_day)
    print(f"{len(table.odds)} rows, trees trained, {time.monotonic() - began:.0f} s", flush=True)
    print("| model | CPU | change | memory | change |\n| --- | --- | --- | --- | --- |")
    shown = np.array([arguments.half in (None, split_of(str(name))) for name in table.examples.series])
    models = {"features": False, "features and hours": True}
    for name, with_hours in models.items():
        rows, odds = (
            np.concatenate(parts) for parts in zip(*corrected(table, until, with_hours), strict=True)
        )
        rows, odds = rows[shown[rows]], odds[shown[rows]]
        trees, names = table.odds[rows], table.examples.series[rows]
        before = losses(trees, table.enough[rows])
        if not with_hours:
            print(f"| trees | {before[:, 0].mean():.4f} | | {before[:, 1].mean():.4f} | |")
        for label, mixed in ((name, odds), (f"half of {name}", (odds + trees) / 2)):
            after = losses(mixed, table.enough[rows])
            cells = (f"{after[:, r].mean():.4f} | {change(before[:, r], after[:, r], names)}" for r in (0, 1))
            print(f"| {label} | " + " | ".join(cells) + " |", flush=True)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
