"""Fits the constants of perfopt-resource on the tuning half of a fleet and writes its calibration.json.

    python benchmarks/fit_resource_calibration.py --traces DIR [--out FILE]

Reads DIR/bitbrains_rnd.parquet, the series whose split is `tune` (see walk_traces.py) and no others. Each
(series, weekly cut, history length) is one case: the features of the history, and the smallest accurate
value of the 7 days after it. The constants minimise the mean over cases of

    SCALE * ln(1 + excess / SCALE) + shortage_cost * P(shortage)

where excess = ln(bound / needed) where the bound is enough, and P is a logistic step that is sharpened
in rounds. The cost of excess is concave because what is paid for hardly differs between a bound that is
4 and one that is 5 times too high, while there are series for which nothing less would do. More spread
never means less margin: those weights are held at zero or above. Plain gradient descent with Adam's step
sizes from a fixed start: the same data give the same bytes.
"""

import argparse
import json
import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from walk_traces import SETTINGS, cuts, load

import perfopt_resource
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.metrics.need import MINIMUM_COVERAGE, smallest_cpu_request, smallest_memory_request
from perfopt_resource.bounds import (
    MARGIN_RANGE,
    NO_SPREADS,
    SPREAD_CLIP,
    SpreadBound,
    spread_term,
)
from perfopt_resource.features import cut, features
from perfopt_resource.sizing import enforced_cap

Array = NDArray[np.float64]

HISTORIES_DAYS = (14, 10, 7, 5, 3)
FULL_HISTORY_WEIGHT = 3.0  # 14 days is what is asked by default; shorter ones are what replays have
SCALE = 0.5
SHORTAGE_COST = {"cpu": 2.9, "memory": 2.8}
RIDGE = 0.01
SHARPNESS = (0.4, 0.25, 0.15, 0.1, 0.07)
STEPS = 400
FOLDS = 5
LEAST_COVERAGE = 0.6

REFERENCE = {"cpu": ("p99", CPU_FLOOR_CORES), "memory": ("max", float(MEMORY_FLOOR_BYTES))}
LOCATION = {"cpu": (), "memory": ("p99_below_max", "decayed_max")}
SPREAD = {
    "cpu": ("p99_below_max", "p98_below_p99", "own_error", "level", "blocks"),
    "memory": ("p99_below_max", "median_below_max", "own_error", "above_season", "level", "blocks"),
}
METRIC = {"cpu": "cpu_cores", "memory": "memory_bytes"}
LIMIT = {"cpu": "cpu_limit_cores", "memory": "memory_limit_bytes"}


@dataclass(frozen=True)
class Cases:
    """One resource of all cases, rows alike over resources.

    Attributes:
        reference: logarithm of the reference, floor applied, shape (n,).
        location, spread: the features' terms, shape (n, features).
        needed: logarithm of the smallest accurate value, shape (n,).
        cap: logarithm of what demand can't exceed, shape (n,).
    """

    reference: Array
    location: Array
    spread: Array
    needed: Array
    cap: Array


def collect(traces: Path) -> tuple[dict[str, Cases], Array, Array]:
    """Returns the cases of each resource, the series and the days of history of each case."""
    rows: dict[str, list[list[float]]] = {"cpu": [], "memory": []}
    series, days = [], []
    for number, snapshot in enumerate(load(traces / "bitbrains_rnd.parquet", keep="tune")):
        for length in HISTORIES_DAYS:
            for known, window in cuts(snapshot, SETTINGS["bitbrains_rnd"], timedelta(days=length)):
                found = {resource: _case(resource, known, window) for resource in METRIC}
                if None in found.values():
                    continue
                for resource, row in found.items():
                    rows[resource].append(row)
                series.append(number)
                days.append(length)
    return (
        {name: _cases(name, np.array(found)) for name, found in rows.items()},
        np.array(series),
        np.array(days),
    )


def _case(resource, known, window):
    values, outcome = (part.series("main", METRIC[resource]).values for part in (known, window))
    present = np.isfinite(values[0])
    begin = int(present.argmax())
    if not present.any() or present[begin:].mean() < LEAST_COVERAGE:
        return None
    if present.size - begin < window.grid.size * 3 // 7 or np.isfinite(outcome).mean() < MINIMUM_COVERAGE:
        return None
    floor = REFERENCE[resource][1]
    seen = features(cut(values[:, begin:], window.grid.size, floor))
    seen["level"] = max(seen[REFERENCE[resource][0]], math.log(floor))
    needed = (
        smallest_cpu_request(outcome, window.grid) if resource == "cpu" else smallest_memory_request(outcome)
    )
    limit = getattr(known.workload.state.containers[0], LIMIT[resource])
    cap = enforced_cap(limit, float(np.nanmax(values)))
    terms = [seen[name] for name in LOCATION[resource]]
    terms += [spread_term(name, seen[name]) for name in SPREAD[resource]]
    return [seen["level"], math.log(needed), math.inf if cap is None else math.log(cap), *terms]


def _cases(resource: str, rows: Array) -> Cases:
    split = 3 + len(LOCATION[resource])
    return Cases(rows[:, 0], rows[:, 3:split], rows[:, split:], rows[:, 1], rows[:, 2])


def fit(resource: str, cases: Cases, weights: Array, held: float = math.nan) -> SpreadBound:
    """Returns the bound whose constants minimise the cost of the module's text; `held` is carried along."""
    mean, deviation = cases.spread.mean(axis=0), cases.spread.std(axis=0) + 1e-9
    scale = cases.location.std(axis=0) + 1e-9
    location = cases.location / scale
    spread = np.clip((cases.spread - mean) / deviation, -SPREAD_CLIP, SPREAD_CLIP)
    split = len(LOCATION[resource])
    free = np.array([name in NO_SPREADS for name in SPREAD[resource]])
    least = np.concatenate([np.full(split + 1, -np.inf), np.where(free, -np.inf, 0.0)])
    target = cases.needed - cases.reference
    theta = _descend(location, spread, target, weights, SHORTAGE_COST[resource], least)
    terms = zip(SPREAD[resource], mean, deviation, theta[split + 1 :], strict=True)
    reference, floor = REFERENCE[resource]
    return SpreadBound(
        reference=reference,
        floor=floor,
        location=dict(zip(LOCATION[resource], _rounded(theta[:split] / scale), strict=True)),
        spread={name: tuple(_rounded(np.array(numbers))) for name, *numbers in terms},
        intercept=_rounded(theta[split : split + 1])[0],
        held=held,
    )


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


def _descend(
    location: Array, spread: Array, target: Array, weights: Array, shortage_cost: float, least: Array
) -> Array:
    """Returns (weights of the location, intercept, weights of the spread)."""
    split = location.shape[1]
    design = np.column_stack([np.ones(len(target)), spread])
    theta = np.zeros(split + design.shape[1])
    theta[split] = math.log(0.4)
    for sharpness in SHARPNESS:
        first, second = np.zeros_like(theta), np.zeros_like(theta)
        for step in range(1, STEPS + 1):
            margin = np.exp(np.clip(design @ theta[split:], *np.log(MARGIN_RANGE)))
            excess = location @ theta[:split] + margin - target
            short = 1 / (1 + np.exp(np.clip(excess / sharpness, -50, 50)))
            slope = np.where(excess > 0, 1 / (1 + excess / SCALE), 0.0)
            slope = weights * (slope - shortage_cost * short * (1 - short) / sharpness)
            pull = RIDGE * theta
            pull[split] = 0.0
            gradient = np.concatenate([location.T @ slope, design.T @ (slope * margin)]) / len(target) + pull
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient**2
            move = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
            theta = np.maximum(theta - 0.02 * move, least)
    return theta


def apply(bound: SpreadBound, cases: Cases) -> Array:
    """Returns the logarithm of the bounds, caps and floor applied, shape (n,)."""
    terms = np.array(list(bound.spread.values()))
    spread = np.clip((cases.spread - terms[:, 0]) / terms[:, 1], -SPREAD_CLIP, SPREAD_CLIP)
    margin = np.clip(np.exp(bound.intercept + spread @ terms[:, 2]), *MARGIN_RANGE)
    location = cases.location @ np.array(list(bound.location.values()))
    return np.maximum(np.minimum(cases.reference + location + margin, cases.cap), math.log(bound.floor))


def out_of_fold(cases: dict[str, Cases], series: Array, weights: Array) -> dict[str, Array]:
    """Returns the bounds of each case from constants fitted without its series."""
    bounds = {name: np.empty(len(series)) for name in cases}
    for fold in range(FOLDS):
        held = series % FOLDS == fold
        for name, whole in cases.items():
            bounds[name][held] = apply(fit(name, _where(whole, ~held), weights[~held]), _where(whole, held))
    return bounds


def _where(cases: Cases, rows: NDArray[np.bool_]) -> Cases:
    return Cases(
        *(getattr(cases, name)[rows] for name in ("reference", "location", "spread", "needed", "cap"))
    )


def beta_binomial(accurate: Array, series: Array) -> tuple[float, float]:
    """Returns mean and strength of the beta distribution that per-series accuracies come from.

    By moments (Kleinman 1973): the between-series variance beyond binomial noise gives the intraclass
    correlation rho, and strength = 1 / rho - 1.
    """
    numbers = np.unique(series)
    counts = np.array([np.count_nonzero(series == number) for number in numbers], dtype=float)
    shares = np.array([accurate[series == number].mean() for number in numbers])
    mean, total = float(accurate.mean()), counts.sum()
    spread = float(counts @ (shares - mean) ** 2)
    noise = mean * (1 - mean)
    rho = (spread - noise * (len(counts) - 1)) / (
        noise * (total - (counts**2).sum() / total - len(counts) + 1)
    )
    return mean, 1 / min(max(rho, 0.01), 0.99) - 1


def main() -> None:
    """Fits, measures out of fold, writes the file and prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    default = Path(perfopt_resource.__file__).with_name("calibration.json")
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    cases, series, days = collect(arguments.traces)
    full = days == HISTORIES_DAYS[0]
    weights = np.where(full, FULL_HISTORY_WEIGHT, 1.0)
    weights /= weights.mean()
    bounds = out_of_fold(cases, series, weights)
    safe = {name: bounds[name] >= cases[name].needed for name in cases}
    for length in HISTORIES_DAYS:
        chosen = days == length
        print(
            f"{length:2d} d of history, {chosen.sum()} cases, out of fold:",
            _summary(bounds, cases, safe, chosen),
        )
    mean, strength = beta_binomial((safe["cpu"] & safe["memory"])[full], series[full])
    held = {name: round(float(safe[name][full].mean()), 3) for name in cases}
    fitted = {name: _plain(fit(name, cases[name], weights, held[name])) for name in cases}
    source = (
        "benchmarks/fit_resource_calibration.py on bitbrains_rnd, tuning half (by hash of the name): "
        f"{len(np.unique(series))} VMs, "
        f"{int(full.sum())} windows of 7 days after 14 days of history, out of fold over VMs"
    )
    prior = {"mean": round(mean, 3), "strength": round(strength, 2), "source": source}
    comment = (
        "Produced by `python benchmarks/fit_resource_calibration.py --traces DIR` from bitbrains_rnd.parquet "
        "(GWA-T-12 Bitbrains; Shen, van Beek, Iosup, CCGRID 2015), series of the tuning half only. Spread: "
        "feature to mean, standard deviation, weight. Do not edit."
    )
    written = {"comment": comment, **fitted, "prior": prior}
    arguments.out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"prior: {mean:.3f}, strength {strength:.2f} -> {arguments.out}")


def _summary(bounds, cases, safe, chosen) -> str:
    parts = [f"accuracy {(safe['cpu'] & safe['memory'])[chosen].mean():.3f}"]
    for name in cases:
        rows = chosen & safe[name]
        waste = np.expm1(bounds[name][rows] - cases[name].needed[rows])
        share = safe[name][chosen].mean()
        parts.append(f"{name} {share:.3f} waste {np.median(waste):.2f} / {np.minimum(waste, 10).mean():.2f}")
    return ", ".join(parts)


def _plain(bound: SpreadBound) -> dict[str, object]:
    return {
        "reference": bound.reference,
        "floor": bound.floor,
        "location": bound.location,
        "spread": {name: list(term) for name, term in bound.spread.items()},
        "intercept": bound.intercept,
        "held": bound.held,
    }


if __name__ == "__main__":
    main()
