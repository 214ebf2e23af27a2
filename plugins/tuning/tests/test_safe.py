"""One step of the search: near what was tried, safe with confidence, towards the best."""

import numpy as np
import pytest

from perfopt_tuning.search.gp import fit_posterior
from perfopt_tuning.search.safe import EvaluatedPoints, SearchProblem, expected_improvement, next_step

GRID = np.linspace(0, 1, 101)[:, np.newaxis]


def step_of(tried, constraint, objective=None, **problem):
    """Steps where the constraint and the objective are known functions of the setting."""
    points = GRID[np.array(tried)]
    objectives = points[:, 0] if objective is None else objective(points[:, 0])
    settings = {"noise": 0.001, "constraint_noise": 0.001, "constraint_scale": 1.0} | problem
    return next_step(
        SearchProblem(GRID, **settings), EvaluatedPoints(points, objectives, constraint(points[:, 0]))
    )


TRIED = range(60, 101, 4)


@pytest.mark.parametrize(("largest", "index"), [(0.07, 53), (0.03, 57)])
def test_a_step_to_a_smaller_size_is_as_long_as_allowed(largest, index):
    step = step_of(TRIED, lambda x: -5.0 + 0 * x, known=GRID[:, 0], largest_step=largest)
    assert step.index == index
    assert step.improvement == pytest.approx((60 - index) / 100)
    assert step.constraint == pytest.approx(-5.0, abs=0.02)
    assert 0 < step.constraint_deviation < 0.03


def test_a_step_starts_from_what_kept_the_constraint_only():
    step = step_of([60, 30], lambda x: np.where(x < 0.5, 0.5, -5.0), known=GRID[:, 0], largest_step=0.07)
    assert step is None or step.index >= 53


def test_a_constraint_of_exactly_zero_is_kept():
    assert step_of([60], lambda x: 0 * x, constraint_noise=1e-9, constraint_scale=1e-12) is None
    near = step_of([60, 64], lambda x: np.where(x > 0.62, -1.0, 0.0), known=-GRID[:, 0])
    assert near is not None
    assert near.index > 60


def test_what_was_tried_is_not_tried_again():
    tried = [60, 59, 58, 57, 56, 55, 54, 53]
    assert step_of(tried, lambda x: -5.0 + 0 * x, known=GRID[:, 0]).index not in tried


@pytest.mark.parametrize(
    ("start", "slope", "index"),
    [
        (-1.0, 2.0, 53),  # -1 + 3 * 2 * 0.07 is safe
        (-0.6, 4.0, 56),  # -0.6 + 3 * 4 * 0.05 is not
        (-0.6, 6.0, 57),  # -0.6 + 3 * 6 * 0.04 is not
    ],
)
def test_a_step_is_safe_even_if_the_slope_becomes_three_times_as_steep(start, slope, index):
    step = step_of(
        TRIED, lambda x: start + slope * (0.6 - x), known=GRID[:, 0], largest_step=0.07, constraint_scale=3.0
    )
    assert step.index == index


def test_a_measured_objective_leads_downhill():
    step = step_of([30, 35, 40], lambda x: -5.0 + 0 * x, objective=lambda x: (x - 0.8) ** 2)
    assert 40 < step.index <= 47
    assert step.improvement > 0


def test_expected_improvement_without_certainty_counts_the_better_only():
    values = expected_improvement(np.array([2.0, 0.5]), np.array([0.0, 0.0]), 1.0)
    np.testing.assert_allclose(values, [0.0, 0.5])


def test_expected_improvement_grows_with_what_is_not_known():
    values = expected_improvement(np.array([1.0, 1.0]), np.array([1.0, 2.0]), 1.0)
    np.testing.assert_allclose(values, [1 / np.sqrt(2 * np.pi), 2 / np.sqrt(2 * np.pi)])


@pytest.mark.parametrize(("stated", "scale"), [(0.0, 0.75), (9.0, 9.0)])
def test_a_measured_objective_varies_by_what_was_seen_or_stated(stated, scale):
    """The objectives 0.5 and 2 stray by 0.75 from their mean, 1.25."""
    points, objectives, noise = GRID[[40, 44]], np.array([0.5, 2.0]), 0.01
    evaluations = EvaluatedPoints(points, objectives, np.array([-5.0, -5.0]))
    problem = SearchProblem(GRID, noise=noise, constraint_noise=0.001, scale=stated)
    step = next_step(problem, evaluations)
    posterior = fit_posterior(points, objectives, noise=noise, scale=scale, mean=1.25)
    expected = expected_improvement(*posterior.predict(GRID[[step.index]]), 0.5)
    assert step.improvement == pytest.approx(expected[0], rel=1e-9)


def test_one_evaluation_says_nothing_of_how_an_objective_varies():
    evaluations = EvaluatedPoints(GRID[[40]], np.array([0.5]), np.array([-5.0]))
    step = next_step(SearchProblem(GRID, noise=0.01, constraint_noise=0.001), evaluations)
    posterior = fit_posterior(GRID[[40]], np.array([0.5]), noise=0.01, scale=0.03, mean=0.5)
    expected = expected_improvement(*posterior.predict(GRID[[step.index]]), 0.5)
    assert step.improvement == pytest.approx(expected[0], rel=1e-9)


def test_an_objective_that_broke_the_constraint_is_not_the_best_so_far():
    points, objectives = GRID[[40, 44, 60]], np.array([0.5, 2.0, 0.1])
    evaluations = EvaluatedPoints(points, objectives, np.array([-5.0, -5.0, 0.5]))
    step = next_step(SearchProblem(GRID, noise=0.01, constraint_noise=0.001), evaluations)
    posterior = fit_posterior(points, objectives, noise=0.01, scale=objectives.std(), mean=objectives.mean())
    expected = expected_improvement(*posterior.predict(GRID[[step.index]]), 0.5)
    assert step.improvement == pytest.approx(expected[0], rel=1e-9)
