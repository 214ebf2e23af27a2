"""What each part of perfopt.forecast is worth: the loss without it, over that with everything.

Parts of the network are taken out of the one that ships, without training it again: another would make up
for some of what they gave, so that these figures are upper bounds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
from forecast_accuracy import DATASETS, LEVELS, Forecaster, by_series, cases, geometric, judge, ours
from forecast_traces import DAY, HORIZONS, Trace

from perfopt.forecast import interface as parts
from perfopt.forecast.network import FleetNetwork, fleet_network
from perfopt.metrics.snapshot import Array, TimeGrid

EXPERTS = ("time of day", "all history", "last week", "last six hours", "last value", "own quantiles")
ORIGINS = {dataset: 2 if dataset == "bitbrains_cpu" else 6 for dataset in DATASETS}
ODD = 7
_NEVER = -1e9  # the logarithm of the trust in an expert that is taken out


def swapped(name: str, value: object) -> Forecaster:
    """Returns our forecast with a name of perfopt.forecast.interface standing for something else."""

    def forecast(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
        kept = getattr(parts, name)
        setattr(parts, name, value)
        try:
            return ours(values, grid, steps, trace)
        finally:
            setattr(parts, name, kept)

    return forecast


def _with_network(change: Callable[[FleetNetwork], FleetNetwork]) -> Forecaster:
    changed = change(fleet_network())
    return swapped("fleet_network", lambda: changed)


def _without(name: str) -> Forecaster:
    return swapped("FORECASTERS", tuple(one for one in parts.FORECASTERS if one.name != name))


def uncalibrated() -> Forecaster:
    """Returns our forecast with the levels that the network itself states."""
    return _with_network(_uncalibrated)


def _no_calendar(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
    return ours(values, grid, steps, replace(trace, calendar=None))


def _one_member(network: FleetNetwork) -> FleetNetwork:
    return replace(network, layers=tuple((weights[:1], bias[:1]) for weights, bias in network.layers))


def _uncalibrated(network: FleetNetwork) -> FleetNetwork:
    return replace(network, theta=np.tile(LEVELS, (len(network.theta), 1)))


def _distrusting(number: int) -> Callable[[FleetNetwork], FleetNetwork]:
    def change(network: FleetNetwork) -> FleetNetwork:
        weights, bias = network.layers[-1]
        bias = bias.copy()
        bias[:, (number + 1) * len(LEVELS) : (number + 2) * len(LEVELS)] = _NEVER
        return replace(network, layers=(*network.layers[:-1], (weights, bias)))

    return change


def _last_days(forecast: Forecaster, days: int) -> Forecaster:
    """Returns a forecast from the last days of a history only."""

    def shortened(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
        size = min(days * DAY // grid.step_seconds, grid.size)
        last = TimeGrid(grid.end - size * grid.step, grid.step, size)
        return forecast(values[-size:], last, steps, trace)

    return shortened


def _odd_steps(forecast: Forecaster) -> Forecaster:
    """Returns a forecast from means over seven steps, which never make a whole day."""

    def coarse(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
        size, step = grid.size // ODD, ODD * grid.step_seconds
        blocks = values[-size * ODD :].reshape(size, ODD)
        counts = np.isfinite(blocks).sum(axis=1)
        means = np.where(counts > 0, np.nansum(blocks, axis=1) / np.maximum(counts, 1), np.nan)
        begin = int(grid.end.timestamp()) - size * step
        known = TimeGrid(datetime.fromtimestamp(begin - begin % step, UTC), timedelta(seconds=step), size)
        made = forecast(means, known, -(-steps // ODD), trace)
        return np.repeat(made, ODD, axis=1)[:, :steps]

    return coarse


def _empirical(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
    known = values[np.isfinite(values)]
    return np.repeat(np.quantile(known, LEVELS)[:, None], steps, axis=1)


def ablate(folder: Path, split: str, datasets: Mapping[str, int]) -> None:
    """Prints the change of loss without each part, by sums and as geometric mean, at so many origins."""
    variants: dict[str, Forecaster] = {
        "without the fleet network": _without("fleet"),
        "one network instead of three": _with_network(_one_member),
        **{f"without {name}": _with_network(_distrusting(n)) for n, name in enumerate(EXPERTS)},
        "without all history, last week": _with_network(lambda one: _distrusting(1)(_distrusting(2)(one))),
        "without calibration": uncalibrated(),
        "without calendars": _no_calendar,
        "without changes": swapped("relevant", lambda values, grid: values),
    }
    print(f"\nLoss without a part over that with all, split {split}: by sums / geometric mean of series")
    print(f"{'':32s}" + "".join(f"{dataset:>20s}" for dataset in datasets) + "   mean")

    def losses(forecast: Forecaster) -> list[Array]:
        return [_losses(folder, split, dataset, most, forecast) for dataset, most in datasets.items()]

    whole = losses(ours)
    for name, forecast in variants.items():
        _row(name, losses(forecast), whole)
    _row("two days: without seasonal", losses(_last_days(_empirical, 2)), losses(_last_days(ours, 2)))
    _row("odd steps: without seasonal", losses(_odd_steps(_empirical)), losses(_odd_steps(ours)))


def _row(name: str, losses: list[Array], whole: list[Array]) -> None:
    sums = [one.sum() / all_.sum() for one, all_ in zip(losses, whole, strict=True)]
    means = [geometric(one / all_) for one, all_ in zip(losses, whole, strict=True)]
    cells = "".join(f"{a:13.3f} {b:6.3f}" for a, b in zip(sums, means, strict=True))
    print(f"{name:32s}{cells}  {geometric(np.array(means)):6.3f}", flush=True)


@lru_cache
def _cases(folder: Path, dataset: str, horizon: timedelta, most: int, split: str) -> list[tuple]:
    return list(cases(folder, dataset, horizon, most, split))


def _losses(folder: Path, split: str, dataset: str, most: int, forecast: Forecaster) -> Array:
    """Returns the loss of each series and horizon."""
    tables = []
    for horizon in HORIZONS.values():
        found = [judge(*case, forecast) for case in _cases(folder, dataset, horizon, most, split)]
        tables.append(by_series(found)[:, 0])
    return np.maximum(np.concatenate(tables), 1e-12)
