"""A Gaussian process for a handful of evaluations, in numpy.

Matern 5/2 kernel (Rasmussen and Williams 2006, equation 4.17). The signal's variance has an inverse-gamma
prior, so that two evaluations that happen to agree do not make it look certain; the length scale is not one
number but all those that the evaluations do not speak against.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfopt.plugin import Array

LENGTHS = {0.1: 0.05, 0.15: 0.3, 0.2: 0.7, 0.3: 1.0, 0.45: 1.0, 0.7: 0.7, 1.0: 0.5}
"""Length scales considered, in parts of the range of a knob, and what they weigh before any evaluation."""
PLAUSIBLE = 0.03
"""Length scales with at least this part of the likeliest one's weight count in bounds."""
PRIOR_WEIGHT = 2.0
"""Evaluations that the prior of the signal's variance weighs."""


def matern(left: Array, right: Array, length: float) -> Array:
    """Returns the kernel between rows: shapes (n, d), (m, d) to (n, m); 1 at distance 0."""
    difference = left[:, np.newaxis, :] - right[np.newaxis, :, :]
    scaled = math.sqrt(5) * np.sqrt((difference**2).sum(axis=2)) / length
    kernel: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return kernel


@dataclass(frozen=True)
class GaussianProcess:
    """A posterior.

    Attributes:
        points: where it was tried, shape (n, d), each knob scaled to [0, 1].
        values: what was measured there, shape (n,).
        length: scale of the kernel.
        noise: standard deviation of a measurement.
        scale: standard deviation of the function before anything was tried.
        mean: of the function before anything was tried.
    """

    points: Array
    values: Array
    length: float
    noise: float
    scale: float
    mean: float = 0.0

    @cached_property
    def _factor(self) -> Array:
        kernel = matern(self.points, self.points, self.length)
        kernel[np.diag_indices_from(kernel)] += (self.noise / self.scale) ** 2 + 1e-8
        return np.linalg.cholesky(kernel)

    @cached_property
    def _residual(self) -> Array:
        solved: Array = np.linalg.solve(self._factor, self.values - self.mean)
        return solved

    @cached_property
    def _quadratic(self) -> float:
        return float(self._residual @ self._residual)

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the function, after what was tried."""
        prior = PRIOR_WEIGHT * self.scale**2
        return math.sqrt((prior + self._quadratic) / (PRIOR_WEIGHT + len(self.values)))

    @cached_property
    def log_likelihood(self) -> float:
        """Of the values, the signal's variance integrated out (a multivariate t), up to a constant."""
        weight = PRIOR_WEIGHT / 2
        half = len(self.values) / 2
        determinant = float(np.log(np.diag(self._factor)).sum())
        return -determinant - (weight + half) * math.log(weight * self.scale**2 + self._quadratic / 2)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the function at points of shape (m, d)."""
        solved = np.linalg.solve(self._factor, matern(self.points, points, self.length))
        mean: Array = self.mean + solved.T @ self._residual
        variance = np.maximum(1 - (solved**2).sum(axis=0), 0.0)
        return mean, self.deviation * np.sqrt(variance)


@dataclass(frozen=True)
class PosteriorMixture:
    """What is believed of a function: processes of several length scales, weighed by their likelihood."""

    processes: tuple[GaussianProcess, ...]
    weights: Array

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the mixture at points of shape (m, d)."""
        parts = [process.predict(points) for process in self.processes]
        means = np.stack([mean for mean, _ in parts])
        variances = np.stack([deviation**2 for _, deviation in parts])
        mean: Array = self.weights @ means
        spread: Array = np.sqrt(np.maximum(self.weights @ (variances + means**2) - mean**2, 0.0))
        return mean, spread

    def bounds(self, points: Array, width: float) -> tuple[Array, Array]:
        """Returns bounds that hold for every length scale that the evaluations leave plausible."""
        plausible = self.weights >= PLAUSIBLE * self.weights.max()
        parts = [p.predict(points) for p, counts in zip(self.processes, plausible, strict=True) if counts]
        lower: Array = np.stack([mean - width * deviation for mean, deviation in parts]).min(axis=0)
        upper: Array = np.stack([mean + width * deviation for mean, deviation in parts]).max(axis=0)
        return lower, upper


def fit_posterior(
    points: Array, values: Array, *, noise: float, scale: float, mean: float
) -> PosteriorMixture:
    """Fits a posterior to evaluations; the attributes of GaussianProcess say what the arguments are."""
    processes = tuple(GaussianProcess(points, values, length, noise, scale, mean) for length in LENGTHS)
    likelihoods = np.array([process.log_likelihood for process in processes])
    weights = np.array(list(LENGTHS.values())) * np.exp(likelihoods - likelihoods.max())
    return PosteriorMixture(processes, weights / weights.sum())
