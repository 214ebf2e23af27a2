from statistics import NormalDist

import numpy as np
import pytest

from perfopt.forecast.experts import LEVELS
from perfopt.forecast.training.calibrate import folds, theta
from perfopt.forecast.training.rows import collect
from perfopt.forecast.training.series import TrainingSeries


def test_without_rows_a_level_stays_what_it_is():
    assert theta(np.zeros(3), np.zeros(3, dtype=int), np.zeros(3, dtype=bool)).tolist() == list(LEVELS)


def test_calibrated_levels_move_to_what_outcomes_needed():
    probits = np.random.default_rng(1).normal(0.5, 1.0, 30_000)  # outcomes were higher than stated
    found = theta(probits, np.zeros(probits.size, dtype=int), np.ones(probits.size, dtype=bool))
    wanted = [NormalDist().cdf(NormalDist().inv_cdf(level) + 0.5) for level in LEVELS]
    assert found == pytest.approx(wanted, abs=0.01)


def test_few_rows_move_levels_little_and_each_series_counts_the_same():
    probits = np.r_[np.full(300, -1.0), np.full(3, 1.0)]
    series = np.r_[np.zeros(300, dtype=int), np.ones(3, dtype=int)]
    found = dict(zip(LEVELS, theta(probits, series, np.ones(303, dtype=bool)), strict=True))
    half = 303 / 603
    assert found[0.25] == pytest.approx(half * NormalDist().cdf(-1) + (1 - half) * 0.25)
    assert found[0.75] == pytest.approx(half * NormalDist().cdf(1) + (1 - half) * 0.75)


def test_all_metrics_of_a_service_are_in_one_fold():
    values = np.random.default_rng(1).gamma(5, 1, 240)
    rows = collect(
        [
            TrainingSeries(name, metric, 0, 3600, values)
            for name in "abcde"
            for metric in ("cpu_cores", "memory_bytes")
        ]
        + [TrainingSeries("web-1", "generated", 0, 3600, values)],
        100,
    )
    fold = folds(rows)
    by_name = {}
    for number, (metric, name) in enumerate(rows.names):
        by_name.setdefault((name, metric == "generated"), set()).update(fold[rows.series == number].tolist())
    assert [by_name[name, False] for name in "abcde"] == [{0}, {1}, {2}, {3}, {0}]
    assert by_name["web-1", True] == {-1}
