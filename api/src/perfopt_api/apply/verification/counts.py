"""Failures, slow requests, restarts: a canary's share of what went wrong against its share of the work. Pure.

Given that something went wrong in a block of time, it happened in the canary with probability
r n / (r n + m), where n and m are the requests (or seconds) of canary and control and r is the ratio of
their rates: load, hour and market open cancel, as both serve the same traffic. The likelihood ratio of a
mixture over r against one r0 is a martingale with mean 1 under r0, so it passes 1 / alpha with probability
alpha at most, at whatever time one stops (Ville's inequality; Robbins 1970; Lindon and Malek 2022).
"""

from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, lambertw

from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.bounds import ConfidenceSequence

_LARGEST_RATIO = 256.0
_GRID = 161
_FINEST = 0.015  # distance of neighbouring log ratios about 0; wider far from it
_SHAPE = 2.0  # of the mixture over a single rate, whose mean is what was usual before
_LOG_SD = 0.7  # of log r where harm is looked for: ratios of 1/2 to 2
_HARM_WEIGHT = 0.8  # of the ratios above 1 in the mixture that shows harm
_NO_LOG_SD = 0.1  # of log r where none is: what a harmless change comes to
_NO_WEIGHT = 0.8  # of those in the mixture that rules harm out
_CANARY_SHARE = 0.8  # of beta, in a difference of rates: fewer requests are the canary's


def log_rate_ratio(
    canary: Array, control: Array, canary_exposure: Array, control_exposure: Array, alpha: float, beta: float
) -> ConfidenceSequence:
    """Returns bounds of the log ratio of two rates, canary over control, after each block.

    Each bound has a mixture of its own: the lower one of ratios above 1, that harm is shown soon; the upper
    one of ratios about 1, that it is ruled out soon.

    Args:
        canary: how often it happened in each block, shape (blocks,).
        control: the same of the pods beside it.
        canary_exposure: requests, or seconds, of each block, shape (blocks,), at least 0.
        control_exposure: the same of the pods beside it.
        alpha: probability that the ratio is ever below the lower bound, in (0, 1).
        beta: probability that it is ever above the upper bound, in (0, 1).

    Returns:
        Bounds of log r, in [-log 256, log 256]; infinite on a side on which no ratio can be ruled out.
    """
    ratios = _log_ratios()
    both = (canary_exposure > 0) & (control_exposure > 0)  # else a block tells nothing of the ratio
    total, others = np.where(both, canary + control, 0.0), np.where(both, control, 0.0)
    share = np.where(both, canary_exposure, 1.0) / np.where(both, control_exposure, 1.0)
    log_odds = np.log(share)[:, None] + ratios
    likelihood = np.cumsum(-total[:, None] * np.log1p(np.exp(-log_odds)) - others[:, None] * log_odds, axis=0)
    best = likelihood.max(axis=1, keepdims=True)
    mixture = np.log(np.exp(likelihood - best) @ _mixtures() + 1e-300) + best
    above = mixture[:, :1] - likelihood < np.log(1 / alpha)
    below = mixture[:, 1:] - likelihood < np.log(1 / beta)
    return ConfidenceSequence(
        estimate=np.where(np.cumsum(total) > 0, ratios[likelihood.argmax(axis=1)], np.nan),
        lower=np.where(above[:, 0], -np.inf, ratios[np.maximum(above.argmax(axis=1) - 1, 0)]),
        upper=np.where(
            below[:, -1],
            np.inf,
            ratios[np.minimum(_GRID - below[:, ::-1].argmax(axis=1), _GRID - 1)],
        ),
    )


@cache
def _log_ratios() -> Array:
    """Returns the log ratios that are tried, shape (_GRID,): dense where harm has to be told from none."""
    half = (_GRID - 1) // 2
    scale = brentq(lambda c: c * np.sinh(half * _FINEST / c) - np.log(_LARGEST_RATIO), 0.05, 50.0)
    ratios: Array = scale * np.sinh(np.arange(-half, half + 1) * _FINEST / scale)
    return ratios


@cache
def _mixtures() -> Array:
    """Returns the weights of the ratios: of the mixture that shows harm, and of that to rule it out."""
    ratios = _log_ratios()
    wide, narrow = (
        np.exp(-0.5 * (ratios / deviation) ** 2) * np.gradient(ratios) for deviation in (_LOG_SD, _NO_LOG_SD)
    )
    sides = np.where(ratios > 0, _HARM_WEIGHT, 1 - _HARM_WEIGHT)
    none = _NO_WEIGHT * narrow / narrow.sum() + (1 - _NO_WEIGHT) * wide / wide.sum()
    harm = wide * sides
    return np.stack([harm / harm.sum(), none], axis=1)


def rate_difference(
    canary: Array, control: Array, canary_exposure: Array, control_exposure: Array, beta: float, usual: float
) -> ConfidenceSequence:
    """Returns upper bounds of how much higher the canary's rate is than the control's, after each block.

    For rates so low that their ratio stays unknown: the canary's upper bound less the control's lower one.

    Args:
        canary: how often it happened in each block, shape (blocks,).
        control: the same of the pods beside it.
        canary_exposure: requests, or seconds, of each block, shape (blocks,), at least 0.
        control_exposure: the same of the pods beside it.
        beta: probability that the difference is ever above the bound, in (0, 1).
        usual: the rate that is expected of both, above 0: the bounds are tightest there.

    Returns:
        Bounds of the difference; the lower one is not known.
    """
    above = rate(canary, canary_exposure, _CANARY_SHARE * beta, usual)
    below = rate(control, control_exposure, (1 - _CANARY_SHARE) * beta, usual)
    upper = np.where(np.isfinite(below.lower), above.upper - below.lower, np.inf)
    return ConfidenceSequence(above.estimate - below.estimate, np.full(upper.shape, -np.inf), upper)


def rate(count: Array, exposure: Array, alpha: float, usual: float) -> ConfidenceSequence:
    """Returns bounds of a rate after each block: how often something happens in a unit of exposure.

    The likelihood ratio of a gamma mixture of Poisson rates against one rate is a martingale under it.

    Args:
        count: how often it happened in each block, shape (blocks,).
        exposure: requests, or seconds, of each block, shape (blocks,), at least 0.
        alpha: probability that the bounds ever fail to hold the rate, in (0, 1).
        usual: the rate that is expected, above 0: the mean of the mixture.

    Returns:
        Bounds of the rate; infinite above until there was any exposure.
    """
    happened, total = np.cumsum(count), np.cumsum(exposure)
    scale = _SHAPE / usual
    mixture = gammaln(_SHAPE + happened) - gammaln(_SHAPE) + _SHAPE * np.log(scale)
    mixture -= (_SHAPE + happened) * np.log(scale + total)
    known = total > 0
    lower, upper = _plausible_rates(happened, np.where(known, total, 1.0), mixture - np.log(1 / alpha))
    return ConfidenceSequence(
        estimate=np.where(known, happened / np.where(known, total, 1.0), np.nan),
        lower=np.where(known, lower, -np.inf),
        upper=np.where(known, upper, np.inf),
    )


def _plausible_rates(count: Array, total: Array, least: Array) -> tuple[Array, Array]:
    """Returns the ends of count log r - total r >= least in r, by both branches of Lambert's W."""
    some = np.maximum(count, 1e-300)
    inner = np.maximum(-total / some * np.exp(np.where(count > 0, least / some, 0.0)), -np.exp(-1))
    lower, upper = (-count / total * lambertw(inner, branch).real for branch in (0, -1))
    return np.where(count > 0, lower, 0.0), np.where(count > 0, upper, -least / total)
