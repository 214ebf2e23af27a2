"""The figures of benchmarks/tuning_search.py, on a few starts of the public test functions."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "tuning_search.py"


@pytest.fixture(scope="module")
def search():
    spec = importlib.util.spec_from_file_location("tuning_search", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Forrester, f <= 5", "two sines, f <= 1.2", "Higdon, f <= 0.9"])
def test_the_best_is_found_in_fifteen_evaluations_without_an_unsafe_one(search, name):
    (case,) = [one for one in search.tested_functions() if one.name == name]
    runs = [search.run(case, seed) for seed in range(2000, 2008)]
    assert sum(run.unsafe for run in runs) == 0
    assert np.mean([run.regret <= 0.05 for run in runs]) >= 0.75


def test_limits_of_simulated_services_are_searched_without_an_unsafe_trial(search):
    runs = [search.run(search.queue(seed), seed) for seed in range(2000, 2016)]
    assert sum(run.unsafe for run in runs) == 0
    assert np.mean([run.regret <= 0.05 for run in runs]) >= 0.6
