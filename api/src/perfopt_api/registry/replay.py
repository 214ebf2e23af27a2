"""A candidate against the active model on the history of a source, both at the same instants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from perfopt.backtest import (
    OriginSchedule,
    PolicyComparison,
    backtest_pair,
    backtest_registry,
    compare,
    make_schedule,
    open_engine,
)
from perfopt.batch import open_executor
from perfopt.config import Config
from perfopt.domain.enums import OptimizationType
from perfopt.domain.period import format_duration, format_instant, parse_instant
from perfopt.domain.resolve import resolve_workload
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.engine.engine import cores
from perfopt.errors import InvalidInputError, NoDataError
from perfopt.sources.base import MetricSource

DEFAULT_CUTS = "4"
REPLAYED = (OptimizationType.RESOURCE_OPTIMIZATION,)
"""Types whose strategies use the models that can be replayed."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What to replay on.

    Attributes:
        names: of services; None is all of the source.
        begin, until: of the data; None is as early as the cuts need, and the last sample.
        history, validity, cuts: see `perfopt.backtest.make_schedule`.
    """

    names: tuple[str, ...] | None
    begin: datetime | None
    until: datetime | None
    history: timedelta
    validity: timedelta
    cuts: str = DEFAULT_CUTS


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a candidate against an incumbent, and what they are of.

    Attributes:
        at: when it was replayed.
        source: name of the metric source.
        incumbent_version: what it was replayed against; None is what the configuration names, or what
            plugins ship.
        first_cut, last_cut, cuts, history, validity: the instants, and what was given and scored.
        failed: services that could not be replayed.
        comparison: the figures.
    """

    at: datetime
    source: str
    incumbent_version: int | None
    first_cut: datetime
    last_cut: datetime
    cuts: int
    history: str
    validity: str
    failed: int
    comparison: PolicyComparison


class ReplayModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model to replay; without content it is what the configuration names, or what plugins ship."""

    version: int | None
    kind: str
    content: bytes | None = None
    card: Mapping[str, Any] = {}

    def models(self) -> dict[str, bytes]:
        """Returns what an engine is given."""
        return {} if self.content is None else {self.kind: self.content}


async def replay(
    incumbent: ReplayModel,
    candidate: ReplayModel,
    source: MetricSource,
    request: ReplayRequest,
    config: Config,
    *,
    at: datetime,
    say: Callable[[str], None],
) -> ReplayResult:
    """Replays two models.

    Args:
        incumbent: what is used now.
        candidate: what may take its place.
        source: where the metrics are.
        request: which services and instants.
        config: price books, limits of the engines and the models of kinds not replayed.
        at: the present.
        say: told of services that could not be replayed.

    Raises:
        InvalidInputError: the candidate learnt from data after the first instant, or no instant fits.
        NotFoundError: no service of a name.
        NoDataError: there was nothing to replay.
    """
    plan = make_schedule(
        request.until if request.until is not None else await source.latest(),
        begin=request.begin,
        history=request.history,
        validity=request.validity,
        origins=request.cuts,
    )
    _require_unseen(candidate, plan)
    workloads = _workloads(request, await source.inventory(plan.end), source)
    walks = []
    async with _engines(config, incumbent, candidate) as engines:
        with open_executor(config.engine.executor, config.engine.processes or cores()) as batch:
            backtests = backtest_pair(source, workloads, plan, config, *engines, batch=batch, types=REPLAYED)
            async for result in backtests:
                if result.error is not None:
                    say(f"Left out: {result.workload.service_name}: {result.error.message}")
                walks.append(result)
    return ReplayResult(
        at=at,
        source=source.name,
        incumbent_version=incumbent.version,
        first_cut=plan.origins[0],
        last_cut=plan.origins[-1],
        cuts=len(plan.origins),
        history=format_duration(plan.history),
        validity=format_duration(plan.validity),
        failed=sum(result.error is not None for result in walks),
        comparison=compare(
            [scored for result in walks for scored in result.incumbent],
            [scored for result in walks for scored in result.candidate],
        ),
    )


def _require_unseen(candidate: ReplayModel, plan: OriginSchedule) -> None:
    """Refuses to judge a model on what it learnt from."""
    trained = candidate.card.get("trained_until")
    until = None if trained is None else parse_instant(str(trained), field="trained_until")
    if until is not None and plan.origins[0] < until:
        raise InvalidInputError(
            f"The replay begins at {format_instant(plan.origins[0])}, and the model learnt from data until"
            f" {format_instant(until)}: it would be judged on what it has seen.",
            field="from",
            remedy="Replay later instants (--from, --cuts), or train with an earlier --until.",
        )


def _workloads(
    request: ReplayRequest, inventory: Sequence[Workload], source: MetricSource
) -> tuple[Workload, ...]:
    if request.names is not None:
        return tuple(resolve_workload(name, inventory) for name in request.names)
    if not inventory:
        raise NoDataError(f"The source {source.name} knows no service.", field="source")
    return tuple(inventory)


@contextlib.asynccontextmanager
async def _engines(config: Config, *contenders: ReplayModel) -> AsyncIterator[tuple[Engine, ...]]:
    registry = await asyncio.to_thread(backtest_registry, config)
    with contextlib.ExitStack() as stack:
        engines = tuple(stack.enter_context(open_engine(registry, config)) for _ in contenders)
        for engine, contender in zip(engines, contenders, strict=True):
            await asyncio.to_thread(engine.use_models, contender.models())
        yield engines
