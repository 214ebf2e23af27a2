"""What a service did and has: arrays on one time grid, current state, coverage. Picklable."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.period import format_duration
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Workload
from perfopt.errors import InvalidInputError

MAX_STEPS = 1_000_000
"""Steps of a grid: 400 days at 35 s. A metric of one pod takes 8 MB then."""
Array = NDArray[np.float64]


def check_steps(period: timedelta, step: timedelta, *, field: str = "analysis_period") -> None:
    """Refuses a period that is too long for its step, before anything is read.

    Raises:
        InvalidInputError: it has more than MAX_STEPS steps.
    """
    steps = period // step
    if steps > MAX_STEPS:
        raise InvalidInputError(
            f"{format_duration(period)} at a step of {format_duration(step)} are {steps:,} steps;"
            f" at most {MAX_STEPS:,} are analysed.",
            field=field,
            remedy="Ask for a shorter period, or set a longer `step_seconds` of the source.",
        )


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """A regular grid of half-open steps [start + i*step, start + (i+1)*step).

    Attributes:
        start: of the first step, UTC, a whole multiple of the step since the epoch.
        step: length of a step.
        size: number of steps.
    """

    start: datetime
    step: timedelta
    size: int

    @property
    def end(self) -> datetime:
        """The instant the grid ends before."""
        return self.start + self.size * self.step

    @property
    def step_seconds(self) -> int:
        """Length of a step in whole seconds."""
        return int(self.step.total_seconds())

    def index(self, instant: datetime) -> int:
        """Returns the number of whole steps before the instant, clipped to [0, size]."""
        return min(max(int((instant - self.start) // self.step), 0), self.size)

    def epoch_seconds(self) -> Array:
        """Returns the start of each step in seconds since the epoch, shape (size,)."""
        return self.start.timestamp() + np.arange(self.size, dtype=np.float64) * self.step_seconds

    @classmethod
    def covering(cls, start: datetime, end: datetime, step: timedelta) -> "TimeGrid":
        """Returns the aligned grid of the whole steps that lie in [start, end).

        Raises:
            InvalidInputError: these are more than MAX_STEPS.
        """
        check_steps(end - start, step)
        seconds = int(step.total_seconds())
        first = -(-int(start.timestamp()) // seconds)
        last = int(end.timestamp()) // seconds
        return cls(datetime.fromtimestamp(first * seconds, UTC), step, max(last - first, 0))


@dataclass(frozen=True, slots=True)
class PodSeries:
    """One metric of one container, a row for each pod that ran it at the same time as others.

    Attributes:
        pods: names, sorted; pods that came one after another may share a row, named for the first of them.
            File sources have one row named "".
        values: shape (len(pods), grid.size), NaN where a pod did not exist or no sample was there.
    """

    pods: tuple[str, ...]
    values: Array

    def hottest(self) -> Array:
        """Returns the largest value over the pods at each step, shape (size,); NaN where none has one."""
        if not len(self.values):
            return np.full(self.values.shape[1:], np.nan)
        hottest: Array = self.values[0] if len(self.values) == 1 else np.fmax.reduce(self.values, axis=0)
        return hottest


@dataclass(frozen=True, slots=True)
class ImageChange:
    """A container began to run another image."""

    container: str
    at: datetime
    image: str


@dataclass(frozen=True, slots=True)
class PodStart:
    """A pod became ready for the first time.

    Attributes:
        pod: its name; "" where the source does not say.
        ready: when. Before that nothing of this start was known.
        seconds: since it was created: scheduling, pulling images, starting and warming up.
    """

    pod: str
    ready: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkloadSnapshot:
    """Everything the engine may know of one workload up to grid.end. Nothing in it is later.

    Attributes:
        workload: identity, current state, SLO, class.
        grid: the time grid of all arrays.
        containers: container name to metric name to its series.
        service: workload-scoped metric name to values of shape (grid.size,), NaN where missing.
        image_changes: within the grid, oldest first.
        starts: of its pods, as far as they were ready before grid.end, oldest first.
        coverage: "container/metric" or "metric" to what was there.
        warnings: (code, sentence) pairs that the source wants the user to see.
        price_book: what the source knows of prices (OpenCost), for workloads that name no book.
        running: the steps in which it had a pod, or should have had one, shape (grid.size,): not while it
            was scaled to zero, nor between the runs of a job. None is from its first sample on.
    """

    workload: Workload
    grid: TimeGrid
    containers: Mapping[str, Mapping[str, PodSeries]]
    service: Mapping[str, Array] = field(default_factory=dict)
    image_changes: tuple[ImageChange, ...] = ()
    starts: tuple[PodStart, ...] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    price_book: PriceBook | None = None
    running: NDArray[np.bool_] | None = None

    def series(self, container: str, metric: str) -> PodSeries | None:
        """Returns a container's metric, or None where the source had none."""
        return self.containers.get(container, {}).get(metric)

    def covered(self, present: NDArray[np.bool_], begin: int) -> float:
        """Returns the share of the steps in which it ran, from a step on, that have a sample.

        Args:
            present: which steps of the grid from `begin` on have one.
            begin: the first step that counts.

        Returns:
            0 where it did not run. A run's first and last step count only with a sample: a rate needs two
            scrapes, and of the few steps of an hourly job these would be half.
        """
        ran = ~self.stopped()[begin : begin + present.size] | present
        if self.running is not None:
            change = np.diff(ran.astype(np.int8), prepend=ran[:1], append=ran[-1:])
            certain = ran & (present | ((change[:-1] != 1) & (change[1:] != -1)))
            ran = certain if certain.any() else ran
        return float(present[ran].mean()) if ran.any() else 0.0

    def stopped(self) -> NDArray[np.bool_]:
        """Returns the steps in which no pod ran on purpose, as far as the source says so, shape (grid.size,).

        It was scaled to zero, or is a job between two runs: by `running`, or by replicas recorded as 0.
        """
        if self.running is not None:
            return ~self.running
        recorded = self.service.get("replicas")
        return np.zeros(self.grid.size, dtype=np.bool_) if recorded is None else recorded == 0

    def slice(self, begin: int, end: int) -> "WorkloadSnapshot":
        """Returns the steps [begin, end) only. Arrays are views; coverage is that of the whole.

        Starts of pods from before the first step stay: they were known, and there are few of them.
        """
        begin, end = max(begin, 0), min(max(end, begin, 0), self.grid.size)
        grid = TimeGrid(self.grid.start + begin * self.grid.step, self.grid.step, end - begin)
        return replace(
            self,
            grid=grid,
            containers={
                name: {
                    metric: PodSeries(series.pods, series.values[:, begin:end])
                    for metric, series in metrics.items()
                }
                for name, metrics in self.containers.items()
            },
            service={name: values[begin:end] for name, values in self.service.items()},
            image_changes=tuple(c for c in self.image_changes if grid.start <= c.at < grid.end),
            starts=tuple(start for start in self.starts if start.ready < grid.end),
            running=None if self.running is None else self.running[begin:end],
        )
