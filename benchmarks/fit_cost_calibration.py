"""Fits the bounds of the cost plugin on the tuning half of bitbrains_rnd and writes its calibration.json.

    python benchmarks/fit_cost_calibration.py --traces DIR

Over the windows of the tuning half (walk_traces.split_of), the mean margin plus a price for each window whose
need is above the bound is minimised (a smoothed chance constraint); the price is by service class. `held` is
the share of windows in which bounds hold on VMs that they were not fitted on, and the prior is how often the
strategy's recommendations do, as services of one and of four replicas: five folds of VMs both times.
"""

import argparse
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
from cost_accuracy import Tally, as_service
from numpy.typing import NDArray
from scipy.optimize import minimize
from walk_traces import SETTINGS, STEP, cuts, load

from perfopt.metrics.need import smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import Array
from perfopt_cost.calibration import LOCATION_CLIP, MARGIN_LOGS, SPREAD_CLIP, parse_calibration
from perfopt_cost.features import LOCATION, SPREAD, describe
from perfopt_cost.strategy import CostStrategy

FILE = "bitbrains_rnd"
MISS_PRICE = {"batch": 4.0, "standard": 10.0, "critical": 20.0}  # in logarithms of margin
# "standard" is priced so that recommendations hold as often, out of fold, as RESOURCE_OPTIMIZATION's: 90.0 %.
SMOOTHING = (0.2, 0.1, 0.05)  # width of the step from held to missed, ever sharper
RIDGE = 1e-3
MIN_SCALE = 0.1  # a feature that hardly varies over the fleet is not magnified
HISTORIES = (timedelta(days=14), timedelta(days=7), timedelta(days=3))  # replays know less than the present
RESOURCES = {"cpu": ("cpu_cores", 0.99, 0.010), "memory": ("memory_bytes", 1.0, float(16 * 2**20))}
FOLDS = 5
TARGET = Path(__file__).parents[1] / "plugins/cost/src/perfopt_cost/calibration.json"


Windows = dict[str, tuple[list[str], list[Array], list[float]]]
Fitted = dict[str, dict[str, object]]


def windows(path: Path) -> Windows:
    """Returns for each resource the VM, the features and log(need / reference) of every window."""
    setting = SETTINGS[FILE]
    steps = setting.validity // STEP
    found: Windows = {name: ([], [], []) for name in RESOURCES}
    for snapshot in load(path, keep="tune"):
        for known, window in (cut for length in HISTORIES for cut in cuts(snapshot, setting, length)):
            for name, (metric, level, floor) in RESOURCES.items():
                past, after = known.series("main", metric), window.series("main", metric)
                if past is None or after is None:
                    continue
                if np.isfinite(past.values).mean() < 0.6 or np.isfinite(after.values).mean() < 0.5:
                    continue
                need = (
                    smallest_cpu_request(after.values, window.grid)
                    if name == "cpu"
                    else smallest_memory_request(after.values)
                )
                assert need is not None
                seen = describe(past.values, steps, level, floor)
                ids, rows, outcomes = found[name]
                ids.append(snapshot.workload.service_name)
                rows.append(np.concatenate([seen.location, seen.spread]))
                outcomes.append(float(np.log(need / max(seen.reference, floor / 2))))
    return found


def fold_of(name: str) -> int:
    """Returns the fold of a VM."""
    return sum(name.encode()) % FOLDS


def fit(ids: list[str], rows: list[Array], outcomes: list[float]) -> Fitted:
    """Returns the scale of the features, and weights by class."""
    x, y = np.stack(rows), np.array(outcomes)
    spread = x[:, len(LOCATION) :]
    centre, scale = spread.mean(axis=0), np.maximum(spread.std(axis=0), MIN_SCALE)
    location = np.clip(x[:, : len(LOCATION)], -LOCATION_CLIP, LOCATION_CLIP)
    x = np.column_stack([location, np.clip((spread - centre) / scale, -SPREAD_CLIP, SPREAD_CLIP)])
    fold = np.array([fold_of(name) for name in ids])
    made: Fitted = {"shared": {"centre": centre.round(5).tolist(), "scale": scale.round(5).tolist()}}
    for kind, price in MISS_PRICE.items():
        margin = np.empty(y.size)
        for number in range(FOLDS):
            out = fold == number
            margin[out] = predicted(weights(x[~out], y[~out], price), x[out])
        whole = weights(x, y, price).round(5).tolist()
        held = float((margin >= y).mean())
        made[kind] = {
            "location": whole[: len(LOCATION)],
            "spread": whole[len(LOCATION) + 1 :],
            "intercept": whole[len(LOCATION)],
            "held": round(held, 4),
        }
    return made


def predicted(w: Array, x: Array) -> Array:
    """Returns log(bound / reference) for features of shape (n, location + spread)."""
    n = len(LOCATION)
    result: Array = x[:, :n] @ w[:n] + np.exp(np.clip(w[n] + x[:, n:] @ w[n + 1 :], *MARGIN_LOGS))
    return result


def weights(x: Array, y: Array, price: float) -> Array:
    """Returns the weights (location, intercept, spread) of the least margin plus price of misses."""
    w: Array = np.zeros(x.shape[1] + 1)
    w[len(LOCATION)] = -0.5
    for width in SMOOTHING:

        def loss(w: Array, width: float = width) -> float:
            margin = predicted(w, x)
            missed = 1 / (1 + np.exp(-np.clip((y - margin) / width, -50, 50)))
            return float(margin.mean() + price * missed.mean() + RIDGE * (w @ w))

        w = minimize(loss, w, method="BFGS", options={"maxiter": 150}).x
    return w


def calibration(found: Windows, without: int | None = None) -> dict[str, Fitted]:
    """Returns the fits of both resources, without the VMs of a fold."""
    made = {}
    for name, (ids, rows, outcomes) in found.items():
        keep = [number for number, vm in enumerate(ids) if fold_of(vm) != without]
        _, level, floor = RESOURCES[name]
        made[name] = fit([ids[n] for n in keep], [rows[n] for n in keep], [outcomes[n] for n in keep])
        made[name]["shared"] |= {"level": level, "floor": floor}
    return made


def prior(path: Path, found: Windows) -> dict[str, object]:
    """Returns how often recommendations held on VMs that their bounds were not fitted on."""
    unknown = {"mean": 0.5, "strength": 2.0, "source": "none"}
    strategies = [
        CostStrategy(calibration=parse_calibration(json.dumps(calibration(found, fold) | {"prior": unknown})))
        for fold in range(FOLDS)
    ]
    by_vm: dict[str, list[bool]] = {}
    for snapshot in load(path, keep="tune"):
        vm = snapshot.workload.service_name
        for replicas in (1, 4):
            tally = Tally(strategies[fold_of(vm)])
            for known, window in cuts(snapshot, SETTINGS[FILE]):
                tally.take(as_service(known, replicas), window, SETTINGS[FILE])
            by_vm.setdefault(vm, []).extend(made.accurate for made in tally.scores)
    known_vms = [np.array(flags) for flags in by_vm.values() if flags]
    mean, strength = beta_binomial(known_vms)
    windows_scored = sum(flags.size for flags in known_vms)
    source = (
        "benchmarks/fit_cost_calibration.py, scored as by benchmarks/cost_accuracy.py, on bitbrains_rnd,"
        f" tuning half (by hash of the name): {len(known_vms)} VMs, {windows_scored} windows of 7 days after"
        " 14 days of history, as one and as four replicas, out of fold over VMs"
    )
    return {"mean": round(mean, 3), "strength": round(float(strength), 2), "source": source}


def beta_binomial(series: list[NDArray[np.bool_]]) -> tuple[float, float]:
    """Returns mean and strength of the beta distribution that accuracies of series come from, by moments.

    Kleinman 1973: the variance between series beyond binomial noise gives the intraclass correlation rho, and
    the strength is 1 / rho - 1.
    """
    counts = np.array([flags.size for flags in series], dtype=float)
    shares = np.array([flags.mean() for flags in series])
    total = counts.sum()
    mean = float(counts @ shares / total)
    noise = mean * (1 - mean)
    spread = float(counts @ (shares - mean) ** 2)
    rho = (spread - noise * (counts.size - 1)) / (
        noise * (total - (counts**2).sum() / total - counts.size + 1)
    )
    return mean, 1 / min(max(rho, 0.01), 0.99) - 1


def main() -> None:
    """Fits, measures the prior out of fold, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    path = parser.parse_args().traces / f"{FILE}.parquet"
    found = windows(path)
    comment = (
        "Written by `python benchmarks/fit_cost_calibration.py --traces DIR` from bitbrains_rnd.parquet"
        " (GWA-T-12 Bitbrains; Shen, van Beek, Iosup, CCGRID 2015), VMs of the tuning half only."
        f" Location: {', '.join(LOCATION)}; spread: {', '.join(SPREAD)}. Do not edit."
    )
    data = {"comment": comment, "prior": prior(path, found), **calibration(found)}
    TARGET.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"prior {data['prior']}")


if __name__ == "__main__":
    main()
