import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_tuning.search.gp import (
    LENGTHS,
    PLAUSIBLE,
    GaussianProcess,
    PosteriorMixture,
    fit_posterior,
    matern,
)
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


def test_the_kernel_is_matern_five_halves():
    near = matern(np.array([[0.0, 0.0]]), np.array([[0.3, 0.4], [0.0, 0.0]]), 0.5)
    scaled = np.sqrt(5)  # the distance is one length scale
    np.testing.assert_allclose(near, [[(1 + scaled + 5 / 3) * np.exp(-scaled), 1.0]])


def test_the_variance_of_the_signal_is_that_of_two_prior_evaluations_and_the_data():
    process = GaussianProcess(np.array([[0.5]]), np.array([3.0]), 0.3, 0.0, 2.0, 1.0)
    # (2 * 2**2 + (3 - 1)**2) / (2 + 1): one evaluation 2 above the mean, beside two of the scale
    assert process.deviation == pytest.approx(2.0, rel=1e-6)
    other = GaussianProcess(np.array([[0.5]]), np.array([6.0]), 0.3, 0.0, 2.0, 1.0)
    assert other.deviation == pytest.approx(np.sqrt((8 + 25) / 3), rel=1e-6)


@pytest.mark.parametrize("length", [0.2, 0.7])
def test_the_likelihood_is_that_of_a_multivariate_t(length):
    x, values, noise, scale = np.array([[0.1], [0.4], [0.9]]), np.array([2.0, -1.0, 0.0]), 0.3, 1.5
    kernel = matern(x, x, length) + np.eye(3) * ((noise / scale) ** 2 + 1e-8)
    quadratic = (values - 0.5) @ np.linalg.solve(kernel, values - 0.5)
    # the inverse-gamma prior weighs two evaluations: shape 1, rate scale**2
    expected = -np.linalg.slogdet(kernel)[1] / 2 - (1 + 1.5) * np.log(scale**2 + quadratic / 2)
    ours = GaussianProcess(x, values, length, noise, scale, 0.5).log_likelihood
    assert ours == pytest.approx(expected, rel=1e-9)


def test_a_posterior_is_the_mixture_of_its_length_scales():
    x = np.array([[0.1], [0.5]])
    posterior = fit_posterior(x, np.array([0.0, 1.0]), noise=0.1, scale=1.0, mean=0.2)
    assert [process.length for process in posterior.processes] == list(LENGTHS)
    assert posterior.weights.sum() == pytest.approx(1.0)
    likelihoods = np.array([process.log_likelihood for process in posterior.processes])
    weights = np.array(list(LENGTHS.values())) * np.exp(likelihoods)
    np.testing.assert_allclose(posterior.weights, weights / weights.sum())
    at = np.array([[0.3], [0.9]])
    parts = [process.predict(at) for process in posterior.processes]
    means, deviations = np.array([m for m, _ in parts]), np.array([d for _, d in parts])
    mean, deviation = posterior.predict(at)
    np.testing.assert_allclose(mean, posterior.weights @ means)
    second = posterior.weights @ (deviations**2 + means**2)
    np.testing.assert_allclose(deviation, np.sqrt(second - mean**2))


def test_bounds_leave_out_length_scales_that_the_evaluations_speak_against():
    x = np.array([[0.0], [0.5]])
    processes = tuple(GaussianProcess(x, np.array([0.0, y]), 0.3, 0.1, 1.0) for y in (1.0, 2.0, 9.0))
    at = np.array([[0.5], [0.6]])
    posterior = PosteriorMixture(processes, np.array([0.8, 0.8 * PLAUSIBLE, 0.79 * PLAUSIBLE]))
    lower, upper = posterior.bounds(at, 1.5)
    parts = [process.predict(at) for process in processes[:2]]
    np.testing.assert_allclose(lower, np.min([m - 1.5 * d for m, d in parts], axis=0))
    np.testing.assert_allclose(upper, np.max([m + 1.5 * d for m, d in parts], axis=0))


def test_noise_keeps_the_posterior_from_what_was_measured():
    x, y = np.array([[0.5]]), np.array([1.0])
    mean, _ = GaussianProcess(x, y, 0.3, 1.0, 1.0).predict(x)
    assert mean[0] == pytest.approx(0.5)  # as far from the prior mean as noise and signal share
    certain, deviation = GaussianProcess(x, y, 0.3, 1e-6, 1.0).predict(x)
    assert certain[0] == pytest.approx(1.0, abs=1e-6)
    assert deviation[0] == pytest.approx(0.0, abs=1e-3)
