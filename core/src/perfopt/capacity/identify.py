"""Identifies a service from its observations: the most probable parameters of the law, from several starts.

Parameters are fitted in coordinates that are standard normal before anything is known, by Levenberg-Marquardt
steps on Huber's loss, all starts at once. What production can't tell apart stays spread over the starts: they
are weighed by their posterior probability, and a prediction is the mean over them.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from perfopt.capacity.latency import LatencyModel
from perfopt.capacity.law import ReplicaLoad, ServiceParameters
from perfopt.capacity.observations import GroupedObservations
from perfopt.capacity.residual import fit_residual
from perfopt.capacity.surrogate import LatencySurrogate, read_surrogate, shipped_surrogate
from perfopt.metrics.snapshot import Array


@dataclass(frozen=True, slots=True)
class FittingOptions:
    """Constants of the fit, chosen on a testbed of five services (docs/research/latency.md).

    Attributes:
        floors: least standard deviation of a group's quantiles at LEVELS and of its doubled throttled share.
            The p99 of a short window is close to its maximum, so it is trusted least.
        huber: residuals count quadratically up to this many standard deviations.
        prior: weight of what is believed before any observation. It is 2 since the quantiles of a window
            depend on each other: they are worth about half their number.
        steps: of the search.
    """

    floors: tuple[float, ...] = (0.03, 0.06, 0.1, 0.25, 0.05)
    huber: float = 1.0
    prior: float = 2.0
    steps: int = 8


@dataclass(frozen=True, slots=True)
class NotIdentified:
    """Why no law could be identified, as one sentence."""

    reason: str


MIN_REQUESTS = 500
MIN_VARIATION = 1.3  # busiest group's load over the quietest's
LARGEST_MISS = 0.35  # median relative miss of the fitted law on what it was fitted to, at p90 and up
_WEIGHTS = np.array([1.0, 0.8, 0.8, 1.0, 1.0])  # p90, p95 and p99 of a window are not independent
_PROBE = 0.05
_FARTHEST = 4.0
_MIN_WAIT = 0.002  # a shorter one cannot be separated from work
# One kind of request or two, few threads or many; the other coordinates begin at their middle.
_STARTS = np.array(
    [
        [heavy, 0.3, spread, 0.0, 0.0, -0.5, threads]
        for heavy, spread in ((0.0, -0.5), (-3.0, 0.6))
        for threads in (-0.7, 0.8)
    ]
)


# Of the coordinates that a sigmoid maps; the others are not read from it.
_SLOPES = np.array([1.5, 1.2, 1.2, 0.0, 1.2, 0.0, 0.0])
_OFFSETS = np.array([0.0, -0.8, -0.8, 0.0, -0.5, 0.0, 0.0])
_LOG_MAX_CORES, _LOG_MAX_THREADS = np.log(8), np.log(64)


def identify(
    observed: GroupedObservations,
    *,
    trained: bytes | None = None,
    surrogate: LatencySurrogate | None = None,
    fitting: FittingOptions | None = None,
) -> LatencyModel | NotIdentified:
    """Returns the latency model of a service, or why its history does not determine one.

    What comes of the last observations is remembered: several strategies identify the same history, at the
    same origins.

    Args:
        observed: what was measured.
        trained: content of a surrogate's file, `context.models.get("latency")`; None is the shipped one.
        surrogate: in place of both.
        fitting: constants of the search; None is the shipped ones.
    """
    if surrogate is None and fitting is None:
        return _remembered(_Identification(_content(observed), trained, observed))
    return _identify(observed, surrogate or shipped_surrogate(), fitting or FittingOptions())


@dataclass(frozen=True, slots=True)
class _Identification:
    """Observations and a surrogate, equal where all their numbers are."""

    content: bytes
    trained: bytes | None
    observed: GroupedObservations = field(compare=False)


def _content(observed: GroupedObservations) -> bytes:
    load = observed.load
    parts = [load.rate, load.cpu_cores, load.limit_cores, load.window_seconds]
    parts += [observed.log_latency, observed.throttled, observed.windows]
    return b"".join(np.asarray(part, dtype=np.float64).tobytes() for part in parts)


@lru_cache(maxsize=32)
def _remembered(given: _Identification) -> LatencyModel | NotIdentified:
    surrogate = shipped_surrogate() if given.trained is None else read_surrogate(given.trained)
    return _identify(given.observed, surrogate, FittingOptions())


def _identify(
    observed: GroupedObservations, network: LatencySurrogate, fitting: FittingOptions
) -> LatencyModel | NotIdentified:
    weak = _too_little(observed)
    if weak is not None:
        return NotIdentified(weak)
    search = _ParameterSearch(observed, network, fitting)
    points, costs = search.run()
    weights = np.exp(costs.min() - costs)
    model = LatencyModel(
        service=decode(points, observed),
        weights=weights / weights.sum(),
        cpu_seconds_per_request=observed.cpu_seconds_per_request,
        window_seconds=float(observed.load.window_seconds),
        seen_rate=(float(observed.load.rate.min()), float(observed.load.rate.max())),
        surrogate=network,
    )
    misses = _misses(model, observed)
    size = float(np.nanmedian(np.abs(misses[:, 1:])))
    if size > LARGEST_MISS:
        return NotIdentified(
            "latency does not follow load: the best law misses the measured p90 to p99 by"
            f" {np.expm1(size):.0%} in the median, so something other than load moves it"
        )
    return model.with_residual(fit_residual(observed, misses, search.deviation[:, :-1]))


def decode(points: Array, observed: GroupedObservations) -> ServiceParameters:
    """Returns the services at points (..., 7) of the normal coordinates, with an axis more for groups."""
    shares = _sigmoid(_SLOPES * points + _OFFSETS)  # in one call: what a call costs is its fixed part
    share = 0.3 * shares[..., 0]
    ratio = np.where(share < 0.003, 1.0, 1 + 15 * shares[..., 1])
    spread = 0.02 + 1.78 * shares[..., 2]
    light = observed.cpu_seconds_per_request / (1 + share * (ratio - 1))
    median = float(np.exp(observed.log_latency[0, 0]))
    rest = np.maximum(median - light / np.sqrt(1 + spread**2), 0.0) * np.exp(0.12 * points[..., 3])
    waits = rest >= _MIN_WAIT
    wait = np.where(waits, rest, 0.0)
    return ServiceParameters(
        heavy_share=share[..., None],
        heavy_ratio=ratio[..., None],
        spread=spread[..., None],
        wait_seconds=wait[..., None],
        wait_spread=np.where(waits, 0.05 + 0.85 * shares[..., 4], 0.0)[..., None],
        cores=np.exp(np.minimum(np.maximum(0.7 * points[..., 5] + 0.5, 0), _LOG_MAX_CORES))[..., None],
        threads=np.exp(np.minimum(np.maximum(1.2 * points[..., 6] + 2.2, 0), _LOG_MAX_THREADS))[..., None],
    )


class _ParameterSearch:
    """Levenberg-Marquardt on all starts at once."""

    def __init__(
        self, observed: GroupedObservations, surrogate: LatencySurrogate, fitting: FittingOptions
    ) -> None:
        self.observed, self.surrogate, self.fitting = observed, surrogate, fitting
        self.measured = np.concatenate([observed.log_latency, 2 * observed.throttled[:, None]], axis=1)
        between = surrogate.spread(decode(_STARTS, observed), observed.load).mean(axis=0)
        self.deviation = np.sqrt(between**2 / observed.windows[:, None] + np.array(fitting.floors) ** 2)
        self.scale = np.where(np.isfinite(self.measured), np.sqrt(_WEIGHTS) / self.deviation, 0.0)
        self.measured = np.where(np.isfinite(self.measured), self.measured, 0.0)

    def run(self) -> tuple[Array, Array]:
        """Returns the points found, shape (starts, 7), and their costs."""
        points, damping = _STARTS, np.ones(len(_STARTS))
        misses, slopes = self._around(points)
        costs = self._costs(misses, points)
        for _ in range(self.fitting.steps):
            step = self._step(points, misses, slopes, damping)
            tried = np.clip(points + step, -_FARTHEST, _FARTHEST)
            there, slopes_there = self._around(tried)
            cost = self._costs(there, tried)
            better = cost < costs
            points = np.where(better[:, None], tried, points)
            misses = np.where(better[:, None], there, misses)
            slopes = np.where(better[:, None, None], slopes_there, slopes)
            costs = np.where(better, cost, costs)
            damping = np.where(better, 0.3 * damping, 4 * damping)
        return points, costs

    def _around(self, points: Array) -> tuple[Array, Array]:
        """Returns the misses at points, shape (starts, n), and their slopes, shape (starts, 7, n)."""
        # In one call: what a call costs is its fixed part.
        shifts = np.concatenate([np.zeros((1, points.shape[-1])), _PROBE * np.eye(points.shape[-1])])
        beside = points[:, None, :] + shifts
        predicted = self.surrogate.predict(decode(beside, self.observed), self.observed.load)
        scaled = ((predicted - self.measured) * self.scale).reshape(*beside.shape[:-1], -1)
        return scaled[:, 0], (scaled[:, 1:] - scaled[:, :1]) / _PROBE

    def _costs(self, misses: Array, points: Array) -> Array:
        size, huber = np.abs(misses), self.fitting.huber
        loss = np.where(size < huber, size**2 / 2, huber * size - huber**2 / 2)
        costs: Array = loss.sum(axis=-1) + self.fitting.prior * (points**2).sum(axis=-1) / 2
        return costs

    def _step(self, points: Array, misses: Array, slopes: Array, damping: Array) -> Array:
        trusted = slopes * np.minimum(1.0, self.fitting.huber / np.maximum(np.abs(misses), 1e-9))[:, None]
        identity = np.eye(points.shape[-1])
        curvature = trusted @ slopes.swapaxes(1, 2) + self.fitting.prior * identity
        gradient = (trusted @ misses[..., None])[..., 0] + self.fitting.prior * points
        damped = curvature + damping[:, None, None] * identity * curvature
        return np.clip(-np.linalg.solve(damped, gradient[..., None])[..., 0], -1.5, 1.5)


def _too_little(observed: GroupedObservations) -> str | None:
    if observed.requests < MIN_REQUESTS:
        return f"{observed.requests:.0f} requests were measured, {MIN_REQUESTS} are needed"
    varied = float(observed.load.rate.max() / max(observed.load.rate.min(), 1e-9))
    if varied < MIN_VARIATION:
        return (
            f"load varies too little to fit the latency model: the busiest windows have {varied:.2f} times"
            f" the requests of the quietest, {MIN_VARIATION} times are needed"
        )
    if not np.isfinite(observed.log_latency[:, 0]).all():
        return "the median latency is not measured, which the latency model needs"
    if np.isfinite(observed.log_latency[:, 1:]).all(axis=0).sum() < 1:
        return "no latency above the median is measured"
    return None


def _misses(model: LatencyModel, observed: GroupedObservations) -> Array:
    """Returns log(measured / predicted) by group and level."""
    load: ReplicaLoad = observed.load
    return observed.log_latency - np.log(model.quantiles(load))


def _sigmoid(values: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-values))
    return result
