"""Holds recommendations against what came, once their validity is over. Every worker runs one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import uuid4

import msgspec
import structlog

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.record import StrategyRecord
from perfopt.domain.statemap import state_of_map
from perfopt.engine.records import strategy_records
from perfopt.errors import NoDataError, PerfoptError, UnavailableError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.replay.outcome import OUTCOME_METRICS, score_outcome
from perfopt.sources.base import FailedSnapshot, MetricSource
from perfopt_api.store.outcomes import DueOutcome, Outcome, PostgresOutcomes

_BATCH = 100
_LEASE = timedelta(minutes=10)
_SOONEST, _LATEST = timedelta(minutes=5), timedelta(days=1)
GIVE_UP = timedelta(days=30)
"""Samples that did not come for so long after the validity do not come any more."""
_log = structlog.get_logger(__name__)

OpenSource = Callable[[str | None], Awaitable[MetricSource]]


class OutcomeKeeper:
    """Scores what is due, and has confidence follow what was scored.

    Args:
        store: of the outcomes.
        source: opens a metric source by name, or the default one.
        versions: the strategies that run, to the versions of their plugins.
        use: takes the records of strategies from now on.
        pause_seconds: from one look to the next.
        now: the clock.
    """

    def __init__(
        self,
        store: PostgresOutcomes,
        source: OpenSource,
        versions: Mapping[str, str],
        use: Callable[[Mapping[str, StrategyRecord]], None],
        *,
        pause_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._source = source
        self._versions = dict(versions)
        self._use = use
        self._pause_seconds = pause_seconds
        self._now = now
        self._seen: tuple[int, datetime | None] | None = None

    async def start(self) -> None:
        """Takes over what was recorded, before the first job.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        await self.learn()

    async def run(self) -> None:
        """Scores and learns until cancelled; while PostgreSQL is away, what was learnt stays."""
        while True:
            try:
                while await self.sweep():
                    pass
                await self.learn()
            except UnavailableError as error:
                _log.debug("outcomes_wait", reason=error.message)
            except Exception:
                _log.exception("outcomes_stopped")
            await asyncio.sleep(self._pause_seconds)

    async def learn(self) -> None:
        """Fits the records anew where outcomes were written since.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        version = await self._store.version()
        if version == self._seen:
            return
        recorded = await self._store.recorded(self._versions)
        records = await asyncio.to_thread(strategy_records, recorded, self._versions, self._now())
        self._use(records)
        self._seen = version

    async def sweep(self) -> int:
        """Scores one batch of what is due; returns how many it took, be they scored or postponed.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        owner = uuid4().hex
        claimed = await self._store.claim(self._now(), owner=owner, lease=_LEASE, limit=_BATCH)
        for (name, made_at, until), group in groupby(sorted(claimed, key=_window), key=_window):
            await self._score(name or None, made_at, until, tuple(group), owner)
        return len(claimed)

    async def _score(
        self, name: str | None, made_at: datetime, until: datetime, due: Sequence[DueOutcome], owner: str
    ) -> None:
        """Scores recommendations of one source and window with one read of the source."""
        try:
            source = await self._source(name)
            latest = await source.latest()
            if latest < until:
                await self._wait(
                    due, owner, f"There are no samples yet of {until.isoformat()}.", until - latest
                )
                return
            windows = await _windows(source, {one.recommendation.workload for one in due}, made_at, until)
        except UnavailableError:
            raise
        except PerfoptError as error:
            await self._wait(due, owner, str(error), _backoff(due[0]))
            return
        except Exception:
            _log.exception("outcomes_not_read", source=name)
            await self._wait(due, owner, _UNEXPECTED, _backoff(due[0]))
            return
        for one in due:
            await self._score_one(one, windows.get(one.recommendation.workload, _GONE), owner)

    async def _score_one(self, one: DueOutcome, found: WorkloadSnapshot | PerfoptError, owner: str) -> None:
        """Scores one recommendation; what goes wrong with it holds up no other."""
        if isinstance(found, PerfoptError) and not isinstance(found, NoDataError):
            await self._wait((one,), owner, str(found), _backoff(one))
            return
        try:
            outcome = await asyncio.to_thread(_outcome, one.recommendation, found)
        except Exception:
            _log.exception("outcome_not_scored", recommendation_id=one.recommendation.recommendation_id)
            await self._wait((one,), owner, _UNEXPECTED, _backoff(one))
            return
        await self._write(one, outcome, owner)

    async def _wait(self, due: Sequence[DueOutcome], owner: str, reason: str, delay: timedelta) -> None:
        """Tries again later; after 30 days it counts as not to be scored."""
        now = self._now()
        for one in due:
            made = one.recommendation
            if now - max(made.valid_until, one.stored_at) > GIVE_UP:
                await self._write(
                    one, Outcome(status="not_scored", applied=made.applied, reason=reason), owner
                )
            else:
                until = now + min(max(delay, _SOONEST), _LATEST)
                await self._store.postpone(made.recommendation_id, until, owner=owner)

    async def _write(self, one: DueOutcome, outcome: Outcome, owner: str) -> None:
        made = one.recommendation
        if await self._store.record(made.recommendation_id, outcome, owner=owner, now=self._now()):
            _log.info(
                "outcome_recorded",
                recommendation_id=made.recommendation_id,
                status=outcome.status,
                accurate=outcome.accurate,
            )


_UNEXPECTED = "Scoring it stopped on an error that perfopt did not expect; the worker's log has the details."
_GONE = NoDataError("The workload is not known to the source any more.")


def _backoff(one: DueOutcome) -> timedelta:
    return _SOONEST * (1 << min(one.attempts, 8))


def _window(due: DueOutcome) -> tuple[str, datetime, datetime]:
    return due.source or "", due.recommendation.made_at, due.recommendation.valid_until


async def _windows(
    source: MetricSource, wanted: set[str], start: datetime, end: datetime
) -> dict[str, WorkloadSnapshot | PerfoptError]:
    known = {str(workload.id): workload for workload in await source.inventory(end)}
    there = [known[identity] for identity in sorted(wanted & known.keys())]
    found: dict[str, WorkloadSnapshot | PerfoptError] = {}
    if not there:
        return found
    async for snapshot in source.snapshots(there, start, end, OUTCOME_METRICS):
        if isinstance(snapshot, FailedSnapshot):
            found[str(snapshot.workload.id)] = snapshot.error
        else:
            found[str(snapshot.workload.id)] = snapshot
    return found


def _outcome(made: OptimizationRecommendation, found: WorkloadSnapshot | PerfoptError) -> Outcome:
    if isinstance(found, PerfoptError):
        return Outcome(status="not_scored", applied=made.applied, reason=found.message)
    before = msgspec.structs.replace(found.workload, state=state_of_map(made.current_state))
    proposal = Proposal(
        optimization_type=made.optimization_type,
        target=state_of_map(made.recommended_state),
        description=made.description,
        claim=msgspec.convert(made.claim, Claim),
        already_right=made.already_right,
    )
    scored = score_outcome(proposal, replace(found, workload=before), applied=made.applied)
    score = scored.score
    if not score.scored:
        return Outcome(status="not_scored", applied=made.applied, reason=score.reason)
    return Outcome(
        status="scored",
        applied=made.applied,
        accurate=score.accurate,
        cpu_safe=score.cpu_safe,
        memory_safe=score.memory_safe,
        claim_kept=score.claim_kept,
        cpu_waste=score.cpu_waste,
        memory_waste=score.memory_waste,
        censored=scored.censored,
    )
