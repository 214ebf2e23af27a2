"""Baselines that are fitted to a fleet: what each origin may learn from, and the policies of the result.

A service is sized by what is fitted to the other half of the services, on outcomes that had ended before.
"""

import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import msgspec
import numpy as np

from perfopt.backtest.evaluate import origin_cases
from perfopt.backtest.evaluated import OriginCase, PolicyDecision
from perfopt.backtest.policies import Policy
from perfopt.backtest.schedule import OriginSchedule, ScheduleRequest
from perfopt.batch import BatchExecutor
from perfopt.config import Config
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.price import HOURS_PER_MONTH, PriceBook
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Workload
from perfopt.engine.engine import cores
from perfopt.errors import InvalidInputError, PerfoptError
from perfopt.evaluation.baselines import BASELINE_METRICS, FITTED
from perfopt.evaluation.baselines.base import container_histories, with_requests
from perfopt.evaluation.baselines.constants import tuned
from perfopt.evaluation.baselines.fitted import FleetExample, features_of
from perfopt.evaluation.baselines.forest import MIN_EXAMPLES, FleetForest
from perfopt.evaluation.split import split_of
from perfopt.metrics.need import smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal, decline
from perfopt.sources.base import FailedSnapshot, KnowsExtent, MetricSource
from perfopt.sources.orderly import in_order

DAY, REFIT = timedelta(days=1), timedelta(days=7)
MAX_ORIGINS = 30  # of a service to learn from: more of the same days add little
UNKNOWN_REQUEST = 2.0  # of the peak: stands for a request that the source does not know
BEFORE = timedelta(days=28)
_TYPE = OptimizationType.RESOURCE_OPTIMIZATION
Sizes = Callable[[FleetExample], tuple[float, float]]


def _fit_forest(examples: Sequence[FleetExample], processes: int) -> Sizes:
    return FleetForest.fit(examples, processes).sizes


def _fit_constants(examples: Sequence[FleetExample], processes: int) -> Sizes:
    factors = tuned(examples)

    def sizes(seen: FleetExample) -> tuple[float, float]:
        cpu, memory = np.minimum(seen.peaks * factors, seen.limits)
        return float(cpu), float(memory)

    return sizes


_FITS = {"forest": _fit_forest, "constants-tuned": _fit_constants}


@dataclass
class FittedPolicy:
    """A baseline of sizes that is fitted to examples of other services, at most once a week of origins.

    Attributes:
        name: as in FITTED.
        examples: of all services.
        processes: that a fit may use.
    """

    name: str
    examples: Sequence[FleetExample]
    processes: int
    optimization_type: OptimizationType = _TYPE
    _fits: dict[tuple[str, datetime], Sizes | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def about(self) -> str:
        """One line on what it does."""
        return FITTED[self.name]

    def recommend(self, case: OriginCase) -> PolicyDecision | Declined:
        """Sizes each container by what was fitted to the other half of the services."""
        state = case.known.workload.state
        seen = examples_of(case, known_only=True)
        sizes = self._fitted(case.known.workload.service_name, case.known.grid.end)
        if sizes is None or not seen:
            reason = (
                "There are no samples of both cpu and memory."
                if sizes is not None
                else f"Fewer than {MIN_EXAMPLES} outcomes of other services had ended before."
            )
            return decline(_TYPE, DeclineCode.NO_DATA, reason)
        sized = {name: sizes(one) for name, one in seen.items()}
        containers = tuple(
            with_requests(one, *sized[one.name]) if one.name in sized else one for one in state.containers
        )
        target = msgspec.structs.replace(state, containers=containers)
        proposal = Proposal(optimization_type=_TYPE, target=target, description="")
        return PolicyDecision(target, (proposal,))

    def _fitted(self, service: str, origin: datetime) -> Sizes | None:
        half = split_of(service)
        cutoff = _floor(origin, REFIT)
        with self._lock:
            if (half, cutoff) not in self._fits:
                chosen = [
                    one for one in self.examples if split_of(one.service) != half and one.ended <= cutoff
                ]
                enough = len(chosen) >= MIN_EXAMPLES
                self._fits[half, cutoff] = _FITS[self.name](chosen, self.processes) if enough else None
            return self._fits[half, cutoff]


def examples_of(case: OriginCase, *, known_only: bool = False) -> dict[str, FleetExample]:
    """Returns the example that each container of a case gives, by its name.

    Args:
        case: a service at an origin.
        known_only: the needs are left out, so that nothing after the origin is read.
    """
    context = AnalysisContext(case.known, case.validity, case.book)
    examples = {}
    for history in container_histories(context):
        container, features = history.container, features_of(history)
        needs = np.full(2, np.nan) if known_only else _needs(case.window, container.name)
        if features is None or needs is None:
            continue
        current = np.array(
            [
                container.cpu_request_cores or UNKNOWN_REQUEST * features[1][0],
                container.memory_request_bytes or UNKNOWN_REQUEST * features[1][1],
            ]
        )
        prices = case.book.hourly_cost(current[0], 0), case.book.hourly_cost(0, current[1])
        limits = container.cpu_limit_cores, container.memory_limit_bytes
        examples[container.name] = FleetExample(
            service=case.known.workload.service_name,
            ended=case.window.grid.end,
            features=features[0],
            peaks=features[1],
            needs=needs,
            limits=np.array([np.inf if limit is None else limit for limit in limits], dtype=np.float64),
            costs=np.array(prices) * HOURS_PER_MONTH,
            current=current,
        )
    return examples


def _needs(window: WorkloadSnapshot, name: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]] | None":
    cpu, memory = window.series(name, "cpu_cores"), window.series(name, "memory_bytes")
    if cpu is None or memory is None:
        return None
    smallest = smallest_cpu_request(cpu.values, window.grid), smallest_memory_request(memory.values)
    return None if smallest[0] is None or smallest[1] is None else np.array(smallest, dtype=np.float64)


def check_fittable(names: Sequence[str]) -> None:
    """Refuses a fitted policy whose library is not installed, before anything is read.

    Raises:
        InvalidInputError: scikit-learn is missing.
    """
    if "forest" in names and find_spec("sklearn") is None:
        raise InvalidInputError(
            "The policy forest needs scikit-learn.",
            field="policy",
            remedy='Install it with pip install "perfopt[train]".',
        )


async def fit_policies(
    names: Sequence[str],
    source: MetricSource,
    inventory: Sequence[Workload],
    workloads: Sequence[Workload],
    request: ScheduleRequest,
    config: Config,
    batch: BatchExecutor,
) -> tuple[FittedPolicy, ...]:
    """Reads what fitted policies learn from and returns the policies; each fits when it is first asked.

    Args:
        names: of FITTED.
        source: where the metrics are.
        inventory: all that it knows; those of the halves that the workloads are not of are read.
        workloads: to be sized.
        request: when recommendations are made.
        config: price books.
        batch: prepares the services; what is fitted does not depend on it.
    """
    needed = {split_of(one.service_name) for one in workloads}
    teachers = [one for one in inventory if {"tune", "report"} - {split_of(one.service_name)} & needed]
    planned = [(workload, await _schedule(source, workload, request)) for workload in teachers]
    examples: list[FleetExample] = []
    for schedule, group in groupby(planned, key=lambda one: one[1]):
        if schedule is None:
            continue
        members = [workload for workload, _ in group]
        snapshots = source.snapshots(members, schedule.start, schedule.end, BASELINE_METRICS | _STATE)
        async for part in in_order(snapshots, _reader(schedule, config, batch), at_once=batch.at_once):
            examples += part
    return tuple(FittedPolicy(name, examples, config.engine.processes or cores()) for name in names)


_STATE = frozenset({"cpu_request_cores", "memory_request_bytes", "cpu_limit_cores", "memory_limit_bytes"})


def _reader(
    schedule: OriginSchedule, config: Config, batch: BatchExecutor
) -> Callable[[Any], Coroutine[Any, Any, list[FleetExample]]]:
    async def read(snapshot: WorkloadSnapshot | FailedSnapshot) -> list[FleetExample]:
        if isinstance(snapshot, FailedSnapshot):
            return []
        book = config.book_for(snapshot.workload.price_book, snapshot.price_book)
        return await batch.run(_examples, snapshot, schedule, book)

    return read


def _examples(snapshot: WorkloadSnapshot, schedule: OriginSchedule, book: PriceBook) -> list[FleetExample]:
    cases = origin_cases(snapshot, schedule, book)
    return [one for case in cases for one in examples_of(case).values()]


def by_place[P](policies: Sequence[P], policy_of: Callable[[P], Policy]) -> tuple[list[P], list[P]]:
    """Returns those that any process can run, and those that need what this one has fitted."""
    here = [one for one in policies if isinstance(policy_of(one), FittedPolicy)]
    return [one for one in policies if one not in here], here


async def _schedule(
    source: MetricSource, workload: Workload, request: ScheduleRequest
) -> OriginSchedule | None:
    """Returns the origins to learn from: since the first sample, or from four weeks before the others."""
    try:
        if isinstance(source, KnowsExtent):
            extent = await source.extent(workload)
            if extent is None:
                return None
            first, until = extent
            shared = request.for_extent(first, until)
        else:
            until = request.until if request.until is not None else await source.latest()
            shared = request.shared(until)
            first = shared.start - BEFORE
    except PerfoptError:
        return None  # too short to learn from; that it can't be evaluated is said where it is evaluated
    first, last = _floor(first + timedelta(days=1), DAY), _floor(shared.origins[-1], DAY)
    stride = max(DAY, _whole_days((last - first - shared.history) / MAX_ORIGINS))
    count = max((last - first - shared.history) // stride, 0) + 1
    origins = tuple(last - stride * back for back in reversed(range(count)))
    return OriginSchedule(origins, shared.history, shared.validity)


def _floor(instant: datetime, unit: timedelta) -> datetime:
    """Returns the last whole unit since the epoch: services of about the same extent share a schedule."""
    return datetime.fromtimestamp(instant.timestamp() // unit.total_seconds() * unit.total_seconds(), UTC)


def _whole_days(length: timedelta) -> timedelta:
    return DAY * -(-length // DAY)
