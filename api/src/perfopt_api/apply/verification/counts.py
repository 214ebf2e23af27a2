"""Failures, slow requests, restarts: a canary's share of what went wrong against its share of the work. Pure.

Given that something went wrong in a block of time, it happened in the canary with probability
r n / (r n + m), where n and m are the requests (or seconds) of canary and control and r is the ratio of
their rates: load, hour and market open cancel, as both serve the same traffic. The likelihood ratio of a
mixture over r against one r0 is a martingale with mean 1 under r0, so it passes 1 / alpha with probability
alpha at most, at whatever time one stops (Ville's inequality; Robbins 1970; Lindon and Malek 2022).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln

from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.bounds import ConfidenceSequence

_LARGEST_RATIO = 256.0
_GRID = 513
_RATES = 2049
_FINEST = 0.005  # distance of neighbouring log ratios about 0; wider far from it
_SHAPE, _RATE = 0.5, 10.0  # of the mixture over a single rate: nearly flat above one in a few hundred
_PRIOR_LOG_SD = 0.7  # of the mixture over log r: ratios of 1/2 to 2 are what one looks for


def log_rate_ratio(
    canary: Array, control: Array, canary_exposure: Array, control_exposure: Array, alpha: float
) -> ConfidenceSequence:
    """Returns bounds of the log ratio of two rates, canary over control, after each block.

    Args:
        canary: how often it happened in each block, shape (blocks,).
        control: the same of the pods beside it.
        canary_exposure: requests, or seconds, of each block, shape (blocks,), at least 0.
        control_exposure: the same of the pods beside it.
        alpha: probability that the bounds ever fail to hold the ratio, in (0, 1).

    Returns:
        Bounds of log r, in [-log 256, log 256]; infinite on a side on which no ratio can be ruled out.
    """
    ratios = _log_ratios()
    both = (canary_exposure > 0) & (control_exposure > 0)  # else a block tells nothing of the ratio
    happened = np.where(both, canary, 0.0)[:, None], np.where(both, control, 0.0)[:, None]
    odds = np.exp(ratios)[None] * np.where(both, canary_exposure, 1.0)[:, None]
    others = np.where(both, control_exposure, 1.0)[:, None]
    likelihood = np.cumsum(
        happened[0] * np.log(odds / (odds + others)) + happened[1] * np.log(others / (odds + others)), axis=0
    )
    prior = -0.5 * (ratios / _PRIOR_LOG_SD) ** 2 + np.log(np.gradient(ratios))
    prior -= np.logaddexp.reduce(prior)
    mixture = np.logaddexp.reduce(likelihood + prior, axis=1)
    plausible = mixture[:, None] - likelihood < np.log(1 / alpha)
    return ConfidenceSequence(
        estimate=_largest(ratios, likelihood, np.cumsum(happened[0] + happened[1], axis=0)[:, 0] > 0),
        lower=np.where(plausible[:, 0], -np.inf, ratios[np.maximum(plausible.argmax(axis=1) - 1, 0)]),
        upper=np.where(
            plausible[:, -1],
            np.inf,
            ratios[np.minimum(_GRID - plausible[:, ::-1].argmax(axis=1), _GRID - 1)],
        ),
    )


@cache
def _log_ratios() -> Array:
    """Returns the log ratios that are tried, shape (_GRID,): dense where harm has to be told from none."""
    half = (_GRID - 1) // 2
    scale = brentq(lambda c: c * np.sinh(half * _FINEST / c) - np.log(_LARGEST_RATIO), 0.05, 50.0)
    ratios: Array = scale * np.sinh(np.arange(-half, half + 1) * _FINEST / scale)
    return ratios


def _largest(ratios: Array, likelihood: Array, known: NDArray[np.bool_]) -> Array:
    return np.where(known, ratios[likelihood.argmax(axis=1)], np.nan)


def rate(count: Array, exposure: Array, alpha: float) -> ConfidenceSequence:
    """Returns bounds of a rate after each block: how often something happens in a unit of exposure.

    The likelihood ratio of a gamma mixture of Poisson rates against one rate is a martingale under it.

    Args:
        count: how often it happened in each block, shape (blocks,).
        exposure: requests, or seconds, of each block, shape (blocks,), at least 0.
        alpha: probability that the bounds ever fail to hold the rate, in (0, 1).

    Returns:
        Bounds of the rate; infinite above until there was any exposure.
    """
    happened, total = np.cumsum(count), np.cumsum(exposure)
    rates = np.concatenate(([0.0], np.geomspace(1e-9, 1e3, _RATES)))
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(happened[:, None] > 0, happened[:, None] * np.log(rates), 0.0)
    likelihood = seen - total[:, None] * rates
    mixture = gammaln(_SHAPE + happened) - gammaln(_SHAPE) + _SHAPE * np.log(_RATE)
    mixture -= (_SHAPE + happened) * np.log(_RATE + total)
    plausible = mixture[:, None] - likelihood < np.log(1 / alpha)
    last = rates.size - plausible[:, ::-1].argmax(axis=1)
    known = total > 0
    return ConfidenceSequence(
        estimate=np.where(known, happened / np.maximum(total, 1e-300), np.nan),
        lower=np.where(known, rates[np.maximum(plausible.argmax(axis=1) - 1, 0)], -np.inf),
        upper=np.where(known & (last < rates.size), rates[np.minimum(last, rates.size - 1)], np.inf),
    )
