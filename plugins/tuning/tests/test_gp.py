import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_tuning.search.gp import GaussianProcess, fit_posterior
from perfopt_tuning.search.safe import EvaluatedPoints, SearchProblem, expected_improvement, next_step


def test_the_posterior_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.gaussian_process")
    rng = np.random.default_rng(3)
    x, y, grid = rng.random((6, 2)), rng.standard_normal(6), rng.random((20, 2))
    ours = GaussianProcess(x, y, 0.3, 0.1, 1.0)
    theirs = sklearn.GaussianProcessRegressor(
        sklearn.kernels.Matern(0.3, nu=2.5), alpha=0.1**2 + 1e-8, optimizer=None
    ).fit(x, y)
    mean, deviation = ours.predict(grid)
    expected, spread = theirs.predict(grid, return_std=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(deviation, spread * ours.deviation, rtol=1e-6)


def test_expected_improvement_by_hand():
    # best - mean = 1 and deviation 1: 1 * Phi(1) + phi(1) = 0.84134 + 0.24197
    assert expected_improvement(np.array([0.0]), np.array([1.0]), 1.0)[0] == pytest.approx(1.08332, abs=1e-5)
    assert expected_improvement(np.array([0.0, 2.0]), np.zeros(2), 1.0).tolist() == [1.0, 0.0]


@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(-3, 3))
def test_expected_improvement_is_what_sampling_gives(mean, deviation, best):
    draws = mean + deviation * np.random.default_rng(0).standard_normal(20_000)
    sampled = np.maximum(best - draws, 0).mean()
    assert expected_improvement(np.array([mean]), np.array([deviation]), best)[0] == pytest.approx(
        sampled, abs=0.1 * deviation
    )


@given(st.floats(0.2, 20), st.integers(0, 50))
def test_a_step_is_near_what_was_tried_and_confidently_safe(slope, start):
    grid = np.linspace(0, 1, 101)[:, np.newaxis]
    constraint = slope * (grid[:, 0] - 0.6)
    first = np.array([start])
    evaluations = EvaluatedPoints(grid[first], -grid[first, 0], constraint[first])
    step = next_step(
        SearchProblem(grid, noise=0.02, constraint_noise=0.02, constraint_scale=3 * slope), evaluations
    )
    if step is not None:
        assert abs(step.index - start) <= 7
        assert constraint[step.index] <= 0


def test_nothing_is_tried_where_nothing_is_known_to_be_safe():
    grid = np.linspace(0, 1, 11)[:, np.newaxis]
    evaluations = EvaluatedPoints(grid[[5]], np.array([1.0]), np.array([0.5]))
    assert next_step(SearchProblem(grid), evaluations) is None


def test_bounds_hold_for_every_plausible_length_scale():
    x = np.array([[0.0], [0.05], [0.1]])
    posterior = fit_posterior(x, np.array([0.0, 0.1, 0.2]), noise=0.01, scale=1.0, mean=0.0)
    far = np.array([[0.9]])
    lower, upper = posterior.bounds(far, 2.0)
    mean, deviation = posterior.predict(far)
    assert lower[0] < mean[0] - deviation[0]
    assert upper[0] > mean[0] + deviation[0]
