"""Generated series, for what measured ones lack.

Market sessions with opens and closes, web traffic with days, weeks, growth and bursts, leaks with restarts,
and noise with nothing in it to learn. Levels, shapes and noise are drawn anew for each series.
"""

from collections.abc import Callable, Iterator

import numpy as np

from perfopt.forecast.training.series import TrainingSeries
from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import DAY_SECONDS as DAY

GENERATED = "generated"
DAYS = 36
SEED = 5
_STEPS, _STEP_SHARES = (60, 300, 900), (0.4, 0.45, 0.15)


def _noise(rng: np.random.Generator, size: int, step: int, hours: float, deviation: float) -> Array:
    from scipy.signal import lfilter

    keep = np.exp(-step / hours / 3600)
    noise: Array = deviation * lfilter([1], [1, -keep], rng.normal(size=size) * np.sqrt(1 - keep**2))
    return noise


def sessions(rng: np.random.Generator, step: int, days: int) -> Array:
    """Generates activity of a market: nothing outside the session, a sharp open, peaks and a close."""
    time = np.arange(days * (DAY // step))
    second, day = time % (DAY // step) * step, time // (DAY // step)
    opened = int(rng.integers(6 * 3600 // step, 15 * 3600 // step) * step + rng.choice([0, 0, 900, 1800]))
    length = int(rng.integers(6 * 3600, 14 * 3600)) // 60 * 60
    close = min(opened + length, DAY - step)
    minutes = (second - opened) / 60
    shape = 1 + rng.uniform(0, 1.5) * ((second - (opened + close) / 2) / (length / 2)) ** 2
    shape += rng.uniform(0, 12) * np.exp(-np.maximum(minutes, 0) / rng.choice([0.8, 2, 5, 15]))
    for _ in range(rng.integers(0, 3)):
        peak = rng.uniform(opened, close)
        fade = np.exp(-np.maximum((second - peak) / 60, 0) / rng.uniform(1, 20))
        shape += rng.uniform(0.5, 6) * fade * (second >= peak)
    shape += rng.uniform(0, 5) * np.exp(-np.maximum(close - step - second, 0) / 60 / rng.uniform(1, 20))
    level = np.exp(np.cumsum(rng.normal(0, 0.12, days)) * 0.5 + rng.normal(0, 0.2, days))
    eager = np.exp(rng.normal(0, rng.uniform(0.1, 0.6), days)) ** 0.7
    wander = _noise(
        rng, time.size, step, -step / 3600 / np.log(rng.uniform(0.5, 0.98)), rng.uniform(0.1, 0.6)
    )
    mean = shape * level[day] * np.exp(wander) * np.where(minutes < 15, eager[day], 1.0)
    sharp = rng.uniform(0.7, 20)
    values = mean * rng.gamma(sharp, 1 / sharp, time.size)
    closed = (second < opened) | (second >= close) | ((day + 3) % 7 >= 5)
    return np.where(closed, 0.0 if rng.random() < 0.7 else values * 0.02, values) * 10 ** rng.uniform(-2, 4)


def leaks(rng: np.random.Generator, step: int, days: int) -> Array:
    """Generates use that climbs steadily and falls back at restarts."""
    size = DAY // step
    time = np.arange(days * size)
    every = rng.choice([2, 5, 9, 60]) * size * rng.uniform(0.7, 1.3)
    values = rng.uniform(0.2, 3) + rng.uniform(0.01, 0.5) / size * ((time + rng.uniform(0, every)) % every)
    values += rng.choice([0, 0.05, 0.2]) * np.cos(2 * np.pi * time / size + rng.uniform(0, 6))
    values += rng.choice([0.002, 0.02, 0.1]) * rng.normal(size=time.size)
    if rng.random() < 0.4:
        values *= np.where(time > rng.integers(0, time.size), rng.uniform(0.5, 2), 1)
    return np.maximum(values, 0.01) * 10 ** rng.uniform(-2, 9)


def _bursts(rng: np.random.Generator, size: int, step: int, days: int) -> Array:
    total = np.zeros(size)
    for _ in range(rng.poisson(rng.choice([0.2, 0.6, 1.5]) * days)):
        at = rng.integers(0, size)
        if rng.random() < 0.5:
            at = np.clip((rng.integers(0, days) + rng.normal(0.6, 0.12)) * (size // days), 0, size - 1)
        fall = max(rng.choice([0.1, 0.5, 2.0]) * 3600 / step * rng.uniform(0.5, 1.5), 0.2)
        rise = max(rng.uniform(0.05, 1) * fall, 0.2)
        away = np.arange(size) - int(at)
        slope = np.where(away < 0, np.maximum(away / rise, -50), -np.maximum(away, 0) / fall)
        total += rng.exponential(rng.choice([0.3, 0.8, 1.5])) * np.exp(slope)
    return np.minimum(total, 4)


def web(rng: np.random.Generator, step: int, days: int) -> Array:
    """Generates traffic of people: a smooth day, a week, growth, wandering levels, bursts, counting noise."""
    size = DAY // step
    time = np.arange(days * size)
    angle, day = time % size / size * 2 * np.pi, time // size
    height = rng.uniform(0, 1.5)
    shape = height * np.cos(angle - rng.uniform(0, 6.28))
    for wave, share in ((2, 0.25), (3, 0.12)):
        shape += rng.normal(0, share * height) * np.cos(wave * angle - rng.uniform(0, 6.28))
    rest = (day + 3) % 7 >= 5
    weekday = rng.normal(0, rng.choice([0, 0.05, 0.2, 0.4]), 7)
    shape = (
        shape * (1 - rng.choice([0, 0.3, 0.8]) * rest) + weekday[day % 7] - rng.choice([0, 0.3, 1.0]) * rest
    )
    shape += rng.choice([0, 0, 0.01, 0.04, 0.08]) * rng.normal() * day
    if rng.random() < 0.3:
        shape += rng.normal(0, 0.7) * (time > rng.integers(0, time.size))
    if rng.random() < 0.3:
        shape += rng.choice([0.5, 1.0, 2.0]) * rng.uniform() * (time / time.size) ** rng.uniform(1, 6)
    for hours, deviations in (
        (rng.uniform(0.3, 3), [0.02, 0.05, 0.15, 0.3]),
        (rng.uniform(10, 60), [0.01, 0.05, 0.15, 0.3]),
        (rng.uniform(80, 300), [0, 0.05, 0.15, 0.3]),
    ):
        shape += _noise(rng, time.size, step, hours, rng.choice(deviations))
    if rng.random() < 0.5:
        shape += _bursts(rng, time.size, step, days)
    mean, sharp = np.exp(shape), rng.choice([1.0, 5, 30, 200, 1000])
    values = rng.gamma(sharp, 1 / sharp, time.size) * mean
    if rng.random() < 0.3:
        window = rng.choice([0.5, 3, 20, 100])
        values = rng.poisson(np.minimum(mean * window, 1e6)) / window
    return (values + rng.choice([0, 0, 1, 5])) * 10 ** rng.uniform(-3, 5)


def steady(rng: np.random.Generator, step: int, days: int) -> Array:
    """Generates what only scatters: independent noise about a level or a smooth day, shifted once at most."""
    size = DAY // step
    time = np.arange(days * size)
    noises = (
        rng.normal(0, 1, time.size),
        rng.exponential(1, time.size),
        rng.uniform(-1, 1, time.size),
        rng.lognormal(0, rng.uniform(0.2, 1.2), time.size),
        (rng.random(time.size) < rng.uniform(0.02, 0.6)) * rng.gamma(20, 1 / 20, time.size),
    )
    values = noises[rng.integers(len(noises))] * rng.choice([0.05, 0.3, 1.0])
    values += rng.choice([0, 0, 0.2, 1.0]) * np.sin(2 * np.pi * time / size + rng.uniform(0, 6.28))
    values += rng.choice([0, 2, 10])
    if rng.random() < 0.3:
        values += rng.choice([-4, -1, 1, 4]) * rng.uniform(0.3, 1) * (time > rng.integers(0, time.size))
    return values * 10 ** rng.uniform(-3, 6)


_GENERATORS: dict[str, tuple[Callable[[np.random.Generator, int, int], Array], float]] = {
    "sessions": (sessions, 0.19),
    "leaks": (leaks, 0.07),
    "web": (web, 0.60),
    "steady": (steady, 0.14),
}


def generated_series(count: int) -> Iterator[TrainingSeries]:
    """Yields about `count` series, of each kind its share; the first ones of a kind are always the same."""
    for number, (kind, (generate, share)) in enumerate(_GENERATORS.items()):
        rng = np.random.default_rng((SEED, number))
        for index in range(round(count * share)):
            step = int(rng.choice(_STEPS, p=_STEP_SHARES))
            yield TrainingSeries(f"{kind}-{index}", GENERATED, 0, step, generate(rng, step, DAYS))
