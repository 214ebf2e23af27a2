"""One step of safe Bayesian optimisation: where to try next, none that may break the constraint.

Expected improvement (Jones, Schonlau and Welch 1998) decides where the best is thought to be, among all
settings that may be safe; what is tried is the nearest setting that is safe with confidence, so that the
known-safe region grows towards the goal (GoOSE, Turchetta, Berkenkamp and Krause 2019, after SafeOpt, Sui et
al. 2015).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array
from perfopt_tuning.search.gp import PosteriorMixture, fit_posterior

CONFIDENCE_WIDTH = 2.5
"""Standard deviations within which a constraint is taken to lie."""
MARGIN = 2.0
"""Standard deviations of a measurement that a constraint is kept by beyond that."""
ROOM_SCALE = 3.0
"""What a constraint may change by over the range before any evaluation, in parts of the room at the start."""
STEEPER = 3.0
"""How many times as steep as between the evaluations so far a constraint may become within a step."""
MAX_STEP = 0.07
"""Distance of an evaluation from what was tried and kept the constraint, in parts of the range."""


@dataclass(frozen=True, slots=True)
class SearchProblem:
    """What is searched.

    Attributes:
        grid: settings that may be tried, shape (n, d), each knob scaled to [0, 1].
        known: the objective at each of them where it needs no measuring (the size itself), shape (n,).
        scale: what the objective is thought to vary by, before anything is known.
        noise: standard deviation of a measured objective; `constraint_noise` of a constraint.
        constraint_scale: what the constraint may change by over the range, before anything is known.
        largest_step: distance from a setting that was tried and kept the constraint.
    """

    grid: Array
    known: Array | None = None
    scale: float = 0.0
    noise: float = 0.01
    constraint_noise: float = 0.01
    constraint_scale: float = 1.0
    largest_step: float = MAX_STEP


@dataclass(frozen=True, slots=True)
class EvaluatedPoints:
    """What was tried: settings of shape (n, d), objectives and constraints of shape (n,).

    A constraint is safe where it is not above 0.
    """

    points: Array
    objectives: Array
    constraints: Array


@dataclass(frozen=True, slots=True)
class SearchStep:
    """What to try next.

    Attributes:
        index: of the grid.
        constraint, constraint_deviation: predicted there.
        improvement: expected, in the objective's unit.
    """

    index: int
    constraint: float
    constraint_deviation: float
    improvement: float


def next_step(problem: SearchProblem, evaluations: EvaluatedPoints) -> SearchStep | None:
    """Returns what to try next, or None where nothing untried is safe with confidence."""
    constraint = fit_posterior(
        evaluations.points,
        evaluations.constraints,
        noise=problem.constraint_noise,
        scale=problem.constraint_scale,
        mean=0.0,
    )
    lower, upper = constraint.bounds(problem.grid, CONFIDENCE_WIDTH)
    distance = _distances(problem.grid, evaluations.points)
    near = distance[:, evaluations.constraints <= 0].min(axis=1, initial=math.inf) <= problem.largest_step
    fresh = distance.min(axis=1) > 1e-6
    margin = MARGIN * problem.constraint_noise
    safe = (upper <= -margin) & near & fresh
    if problem.known is not None:  # the goal lies at the wall itself
        safe &= _extrapolated(problem, evaluations, distance) <= -margin
    if not safe.any():
        return None
    improvement = _improvement(problem, evaluations)
    goal = int(np.argmax(np.where((lower <= 0) & fresh, improvement, -math.inf)))
    index = goal if safe[goal] else _towards(problem.grid, goal, safe, improvement)
    mean, deviation = constraint.predict(problem.grid[index : index + 1])
    return SearchStep(index, float(mean[0]), float(deviation[0]), float(improvement[index]))


def _extrapolated(problem: SearchProblem, evaluations: EvaluatedPoints, distance: Array) -> Array:
    """Returns the constraint if it becomes STEEPER times as steep beyond the nearest evaluation.

    Latency near saturation goes as 1 / (1 - utilisation): no smooth process sees such a wall coming from
    the gentle slope before it, but its slope grows with every step towards it.
    """
    between = _distances(evaluations.points, evaluations.points)
    rise = np.abs(evaluations.constraints[:, np.newaxis] - evaluations.constraints[np.newaxis, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(between > 1e-6, (rise - 2 * problem.constraint_noise) / between, 0.0)
    steepest = np.maximum(slopes.max(axis=1), 0.0)
    nearest = distance.argmin(axis=1)
    extrapolated: Array = evaluations.constraints[nearest] + STEEPER * steepest[nearest] * distance.min(
        axis=1
    )
    return extrapolated


def _improvement(problem: SearchProblem, evaluations: EvaluatedPoints) -> Array:
    """Returns the expected improvement over the grid."""
    safe = evaluations.constraints <= 0
    best = evaluations.objectives[safe].min() if safe.any() else math.inf
    if problem.known is not None:
        return best - problem.known
    mean, deviation = _posterior(problem, evaluations).predict(problem.grid)
    return expected_improvement(mean, deviation, best)


def _posterior(problem: SearchProblem, evaluations: EvaluatedPoints) -> PosteriorMixture:
    spread = float(evaluations.objectives.std()) if len(evaluations.objectives) > 1 else 0.0
    return fit_posterior(
        evaluations.points,
        evaluations.objectives,
        noise=problem.noise,
        scale=max(spread, problem.scale, 3 * problem.noise, 1e-9),
        mean=float(evaluations.objectives.mean()),
    )


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Returns E[max(best - f, 0)] of normal f (Jones, Schonlau and Welch 1998, equation 15)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, (best - mean) / deviation, 0.0)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    improvement: Array = np.where(
        deviation > 0, (best - mean) * _normal(z) + deviation * density, np.maximum(best - mean, 0.0)
    )
    return improvement


def _normal(z: Array) -> Array:
    """Returns the standard normal distribution function."""
    below: Array = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))
    return below


def _towards(grid: Array, goal: int, safe: NDArray[np.bool_], improvement: Array) -> int:
    """Returns the safe setting nearest to a goal; of equally near ones the more promising."""
    distance = np.sqrt(((grid - grid[goal]) ** 2).sum(axis=1))
    order = np.lexsort((-improvement, np.where(safe, distance, math.inf)))
    return int(order[0])


def _distances(grid: Array, points: Array) -> Array:
    difference = grid[:, np.newaxis, :] - points[np.newaxis, :, :]
    distances: Array = np.sqrt((difference**2).sum(axis=2))
    return distances
