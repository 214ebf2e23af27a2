"""statsmodels' ETS and MSTL beside perfopt.forecast at a fixed sample of origins, a day ahead.

ETS is Holt-Winters with an additive, damped trend and an additive day; its intervals are those of the
additive model (Hyndman et al. 2008, class 1): sigma_h^2 = sigma^2 (1 + sum c_j^2).
MSTL takes the day, and with more than two weeks of history the week, out of the series and forecasts the
rest by simple exponential smoothing with the same intervals. Series of one-minute steps are fitted on
five-minute means, since a season of 1,440 takes minutes; what the minutes scatter around these means is
added to the variance.
"""

import time
import warnings
from pathlib import Path
from statistics import NormalDist

import numpy as np
from forecast_accuracy import LEVELS, cases, geometric, ours, pinball
from forecast_traces import DAY, HORIZONS
from statsmodels.tsa.holtwinters import ExponentialSmoothing
from statsmodels.tsa.seasonal import MSTL

from perfopt.metrics.snapshot import Array

ORIGINS = {"bitbrains_cpu": 4, "request_rates": 24, "market_activity": 24, "datacenter_totals": 24}
SHARES = {"bitbrains_cpu": 0.4, "request_rates": 0.24, "market_activity": 0.24, "datacenter_totals": 0.12}
_COARSE = 300
_NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


def _filled(values: Array, season: int) -> Array:
    """Returns the series with gaps filled by the same time of the day before, or the median."""
    result = values.copy()
    for place in np.flatnonzero(~np.isfinite(result)):
        result[place] = result[place - season] if place >= season else np.nan
    return np.where(np.isfinite(result), result, np.nanmedian(values))


def _coarse(values: Array, step: int) -> tuple[Array, int, float]:
    """Returns means over five minutes, how many steps each holds, and the variance inside them."""
    many = max(_COARSE // step, 1)
    folded = values[values.size % many :].reshape(-1, many)
    means = folded.mean(axis=1)
    return means, many, float(((folded - means[:, None]) ** 2).mean())


def _quantiles(mean: Array, variance: Array, floor: bool) -> Array:
    made = mean + _NORMAL[:, None] * np.sqrt(variance)
    return np.maximum(made, 0.0) if floor else made


def _smoothed(series: Array, steps: int, season: int | None) -> tuple[Array, Array]:
    """Returns mean and variance of exponential smoothing over the next steps."""
    seasonal = {} if season is None else {"seasonal": "add", "seasonal_periods": season}
    trend = {} if season is None else {"trend": "add", "damped_trend": True}
    fitted = ExponentialSmoothing(series, initialization_method="heuristic", **trend, **seasonal).fit()
    alpha = float(fitted.params["smoothing_level"])
    gamma = float(fitted.params["smoothing_seasonal"]) if season else 0.0
    beta = float(fitted.params["smoothing_trend"]) if season else 0.0
    phi = float(fitted.params["damping_trend"]) if season else 1.0
    ahead = np.arange(1, steps)
    damped = np.cumsum(phi**ahead)
    share = alpha + beta * damped + (gamma * (ahead % season == 0) if season else 0.0)
    error = float(np.mean(fitted.resid**2))
    return fitted.forecast(steps), error * (1 + np.concatenate([[0.0], np.cumsum(share**2)]))


def ets(values: Array, step: int, steps: int) -> Array:
    """Forecasts by Holt-Winters, shape (levels, steps)."""
    series, many, inside = _coarse(_filled(values, DAY // step), step)
    mean, variance = _smoothed(series, -(-steps // many), DAY // (step * many))
    return _quantiles(_fine(mean, many, steps), _fine(variance, many, steps) + inside, np.nanmin(values) >= 0)


def _fine(row: Array, many: int, steps: int) -> Array:
    return np.repeat(row, many)[:steps]


def mstl(values: Array, step: int, steps: int) -> Array:
    """Forecasts by MSTL, shape (levels, steps)."""
    series, many, inside = _coarse(_filled(values, DAY // step), step)
    day = DAY // (step * many)
    periods = (day, 7 * day) if series.size > 14 * day else (day,)
    parts = MSTL(series, periods=periods).fit()
    seasonal = np.reshape(parts.seasonal, (series.size, -1))
    count = -(-steps // many)
    mean, variance = _smoothed(series - seasonal.sum(axis=1), count, None)
    for column, period in enumerate(periods):
        mean = mean + seasonal[series.size - period + np.arange(count) % period, column]
    return _quantiles(_fine(mean, many, steps), _fine(variance, many, steps) + inside, np.nanmin(values) >= 0)


def compare(folder: Path, split: str, count: int) -> None:
    """Prints losses over ours at `count` origins, day-ahead."""
    print(f"\nOne day ahead at {count} origins, split {split}: pinball loss over ours, geometric mean")
    for name, method in (("ETS", ets), ("MSTL", mstl)):
        all_ratios = []
        for dataset, share in SHARES.items():
            sample = _sample(folder, dataset, split, round(share * count))
            ratios, seconds = [], []
            for trace, cut, values, grid, steps in sample:
                outcome = trace.values[cut : cut + steps]
                known = np.isfinite(outcome)
                began = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    theirs = method(values, grid.step_seconds, steps)
                seconds.append(time.process_time() - began)
                own = pinball(outcome, ours(values, grid, steps, trace))[known].mean()
                ratios.append(pinball(outcome, theirs)[known].mean() / max(own, 1e-12))
            found = np.minimum(np.array(ratios), 1e3)
            all_ratios += list(found)
            print(
                f"{name:6s}{dataset:20s} n={len(found):3d} {geometric(found):6.2f} x ours, ours better at "
                f"{(found > 1).mean():.0%}, {np.mean(seconds):.2f} s each",
                flush=True,
            )
        found = np.array(all_ratios)
        better = (found > 1).mean()
        print(f"{name:6s}{'all':20s} n={len(found):3d} {geometric(found):6.2f} x ours, worse at {better:.0%}")


def _sample(folder: Path, dataset: str, split: str, count: int) -> list:
    """Returns `count` origins, spread evenly over ORIGINS of each series."""
    found = list(cases(folder, dataset, HORIZONS["1d"], ORIGINS[dataset], split))
    picked = np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))
    return [found[place] for place in picked]
