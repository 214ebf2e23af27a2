"""From days of closed loops to the figures by policy, with intervals from resampling services. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np

from perfopt.backtest.bootstrap import ConfidenceInterval, Rows, interval, resamples
from perfopt.backtest.loop.day import ServiceDay
from perfopt.backtest.loop.policies import LoopPolicy
from perfopt.backtest.loop.run import ServiceLoop
from perfopt.backtest.report import FailedService
from perfopt.backtest.summary import rounded
from perfopt.backtest.tiers import tiers
from perfopt.domain.period import format_duration
from perfopt.errors import NoDataError
from perfopt.metrics.snapshot import Array

DEFINITION = (
    "unsafe: on that day demand for cpu was above the request in force in more than 1 % of samples, or memory"
    " above it at any time"
)
DAY = timedelta(days=1)
_AMOUNTS = ("current_cost", "paid_cost", "minimum_cost", "current_memory", "paid_memory", "minimum_memory")


class PolicyLoop(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one policy in a closed loop.

    Attributes:
        policy: its name; "+loop" is perfopt's rule of what is worth a change.
        baseline: it is not of an installed plugin.
        days: service-days that were scored.
        abstained: on how many of them there was no recommendation.
        in_sample: on how many a model recommended that was trained on the service.
        figures: with 95 % intervals: unsafe, unsafe_cpu and unsafe_memory (shares of the days), saving,
            saving_by_service and memory_saving (of the possible), changes and raises (per service and week).
    """

    policy: str
    baseline: bool
    days: int
    abstained: int
    in_sample: int
    figures: dict[str, ConfidenceInterval]


class LoopResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of closed loops.

    Attributes:
        source: name of the source.
        definition: of unsafe.
        services: how many were run.
        first, last: begin of the earliest and of the latest horizon.
        every, horizon, history: durations.
        policies: figures, in the order of the table.
        failed: services that could not be run.
        notes: what a reader should know of the data.
    """

    source: str
    definition: str = DEFINITION
    services: int
    first: datetime
    last: datetime
    every: str
    horizon: str
    history: str
    policies: tuple[PolicyLoop, ...]
    failed: tuple[FailedService, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayColumns:
    """Days of one policy as columns of shape (days,).

    Attributes:
        services, tiers: names.
        unsafe, unsafe_cpu, unsafe_memory: whether it was; NaN in the latter two where not measured.
        amounts: by name of ServiceDay's field, NaN where unknown.
        changes, raises: numbers.
        days_each: length of a stride in days.
    """

    services: Sequence[str]
    tiers: Sequence[str]
    unsafe: Array
    unsafe_cpu: Array
    unsafe_memory: Array
    amounts: Mapping[str, Array]
    changes: Array
    raises: Array
    days_each: float

    @classmethod
    def of(cls, days: Sequence[ServiceDay], days_each: float) -> "DayColumns":
        """Returns the columns of at least one day."""
        return cls(
            services=[one.service for one in days],
            tiers=[one.tier or one.service for one in days],
            unsafe=np.array([float(one.unsafe) for one in days]),
            unsafe_cpu=_unsafe([one.cpu_safe for one in days]),
            unsafe_memory=_unsafe([one.memory_safe for one in days]),
            amounts={name: _numbers([getattr(one, name) for one in days]) for name in _AMOUNTS},
            changes=np.array([float(one.changes) for one in days]),
            raises=np.array([float(one.raises) for one in days]),
            days_each=days_each,
        )

    def figures(self) -> dict[str, ConfidenceInterval]:
        """Returns each figure with its interval; those that are not defined are left out."""
        rows, samples = np.arange(len(self.services)), resamples(self.tiers)
        codes = np.unique(self.services, return_inverse=True)[1]
        week = 7 / self.days_each
        statistics: dict[str, Callable[[Rows], float | None]] = {
            "unsafe": lambda chosen: _mean(self.unsafe[chosen]),
            "unsafe_cpu": lambda chosen: _mean(self.unsafe_cpu[chosen]),
            "unsafe_memory": lambda chosen: _mean(self.unsafe_memory[chosen]),
            "saving": lambda chosen: self._pooled("cost", chosen),
            "saving_by_service": lambda chosen: self._by_service("cost", chosen, codes),
            "memory_saving": lambda chosen: self._by_service("memory", chosen, codes),
            "changes": lambda chosen: _mean(self.changes[chosen] * week),
            "raises": lambda chosen: _mean(self.raises[chosen] * week),
        }
        intervals = {name: interval(statistic, rows, samples) for name, statistic in statistics.items()}
        return {name: one for name, one in intervals.items() if one is not None}

    def _pooled(self, what: str, rows: Rows) -> float | None:
        current, paid, minimum = self._amounts(what, rows)
        return _ratio(float(np.nansum(current - paid)), float(np.nansum(current - minimum)))

    def _by_service(self, what: str, rows: Rows, codes: Rows) -> float | None:
        """Returns the mean of each service's relative saving over the mean of the possible one."""
        known = rows[np.isfinite(self.amounts[f"current_{what}"][rows])]
        if not known.size:
            return None
        sums = [
            np.bincount(codes[known], weights=values, minlength=int(codes.max()) + 1)
            for values in self._amounts(what, known)
        ]
        drawn = np.bincount(codes[known], minlength=int(codes.max()) + 1)
        has = (drawn > 0) & (sums[0] > 0)
        # A service that was drawn twice counts twice.
        weight = drawn[has] / np.bincount(codes, minlength=drawn.size)[has]
        saved = weight * (sums[0] - sums[1])[has] / sums[0][has]
        possible = weight * (sums[0] - sums[2])[has] / sums[0][has]
        return _ratio(float(saved.sum()), float(possible.sum()))

    def _amounts(self, what: str, rows: Rows) -> list[Array]:
        return [self.amounts[f"{name}_{what}"][rows] for name in ("current", "paid", "minimum")]


def _unsafe(safe: Sequence[bool | None]) -> Array:
    return np.array([np.nan if one is None else float(not one) for one in safe])


def _numbers(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _mean(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _ratio(saved: float, possible: float) -> float | None:
    return saved / possible if possible > 0 else None


def summarise_loop(
    source: str,
    results: Sequence[ServiceLoop],
    policies: Sequence[LoopPolicy],
    *,
    every: timedelta,
    horizon: timedelta,
    history: timedelta,
) -> LoopResult:
    """Puts the result together.

    Args:
        source: name of the source.
        results: one a service.
        policies: what was run.
        every: from one analysis to the next.
        horizon: how long each must hold.
        history: what each is made from.

    Raises:
        NoDataError: nothing could be scored; says why.
    """
    failed = tuple(
        FailedService(service=one.workload.service_name, code=one.error.code, message=one.error.explained)
        for one in results
        if one.error is not None
    )
    groups = tiers({one.workload.service_name: one.peaks for one in results if one.peaks})
    days = [_in_tier(day, groups) for one in results for day in one.days]
    if not days:
        why = f"first failure: {failed[0].message}" if failed else "no horizon had enough samples"
        raise NoDataError(
            f"No day of the loop could be scored: {why}.", remedy="Name another source, service or period."
        )
    return LoopResult(
        source=source,
        services=len({day.service for day in days}),
        first=min(day.start for day in days),
        last=max(day.start for day in days),
        every=format_duration(every),
        horizon=format_duration(horizon),
        history=format_duration(history),
        policies=tuple(
            _figures(one, [day for day in days if day.policy == one.name], every / DAY) for one in policies
        ),
        failed=failed,
        notes=tuple(_notes(days, groups)),
    )


def _in_tier(day: ServiceDay, groups: Mapping[str, str]) -> ServiceDay:
    group = groups.get(day.service, day.service)
    return day if group == day.service else msgspec.structs.replace(day, tier=group)


def _figures(policy: LoopPolicy, days: Sequence[ServiceDay], days_each: float) -> PolicyLoop:
    return rounded(
        PolicyLoop(
            policy=policy.name,
            baseline=policy.baseline,
            days=len(days),
            abstained=sum(day.abstained for day in days),
            in_sample=sum(day.in_sample for day in days),
            figures=DayColumns.of(days, days_each).figures() if days else {},
        )
    )


def _notes(days: Sequence[ServiceDay], groups: Mapping[str, str]) -> list[str]:
    notes = []
    sizes = [size for size in Counter(groups.values()).values() if size > 1]
    if sizes:
        notes.append(
            f"{sum(sizes)} services move together by their daily peaks: intervals count each group as one."
        )
    unknown = {day.service for day in days if day.current_cost is None}
    if unknown:
        notes.append(
            f"{len(unknown)} services have no known requests: they count for safety and changes, not savings."
        )
    if any(day.in_sample for day in days):
        notes.append(
            "IN-SAMPLE: the model was trained on these services; on others there are more unsafe days."
        )
    notes.append(
        "A change is in force one step of the data after it was decided; until then the larger size is paid"
        " for and the smaller one holds. Savings count every day, safe or not."
    )
    return notes
