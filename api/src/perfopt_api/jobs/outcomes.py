"""Scores recommendations on what was observed, once their validity is over. Every worker runs one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import uuid4

import msgspec
import structlog

from perfopt.domain.fields import parse_state
from perfopt.domain.record import StrategyRecord
from perfopt.engine.records import strategy_records
from perfopt.errors import NoDataError, PerfoptError, UnavailableError
from perfopt.evaluation.outcome import OUTCOME_METRICS, score_outcome, score_plan_outcome, unsafe_days
from perfopt.evaluation.proposals import proposal_of
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource
from perfopt_api.store.outcomes import DueOutcome, LeasedOutcomes, RecommendationOutcome, ServiceDays
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import OUTCOMES

_BATCH = 100
_LEASE = timedelta(minutes=10)
_SOONEST, _LATEST = timedelta(minutes=5), timedelta(days=1)
GIVE_UP = timedelta(days=30)
"""Samples that did not come for so long after the validity do not come any more."""
_log = structlog.get_logger(__name__)

OpenSource = Callable[[str | None], Awaitable[MetricSource]]


@dataclass(frozen=True, slots=True)
class _OutcomeClaim:
    store: LeasedOutcomes
    due: DueOutcome


class OutcomeScorer(BackgroundTask):
    """Scores what is due, and adapts confidence to it.

    Args:
        stores: of the outcomes: of recommendations, and of plans.
        source: opens a metric source by name, or the default one.
        versions: the strategies that run, to the versions of their plugins.
        use: takes the records of strategies from now on.
        pause_seconds: from one look to the next.
        now: the clock.
    """

    name = "outcomes"

    def __init__(
        self,
        stores: Sequence[LeasedOutcomes],
        source: OpenSource,
        versions: Mapping[str, str],
        use: Callable[[Mapping[str, StrategyRecord]], None],
        *,
        pause_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = tuple(stores)
        self._source = source
        self._versions = dict(versions)
        self._use = use
        self.pause_seconds = pause_seconds
        self._now = now
        self._seen: list[tuple[int, datetime | None]] | None = None

    async def start(self) -> None:
        """Takes over what was recorded, before the first job.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        await self.learn()

    async def round(self) -> None:
        """Scores what is due, then learns from it."""
        while await self.sweep():
            pass
        await self.learn()

    async def learn(self) -> None:
        """Fits the records anew where outcomes were written since.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        seen = [await store.version() for store in self._stores]
        if seen == self._seen:
            return
        records: dict[str, StrategyRecord] = {}
        for store in self._stores:
            recorded, versions = await store.recorded(self._versions), store.versions(self._versions)
            records |= await asyncio.to_thread(strategy_records, recorded, versions, self._now())
        self._use(records)
        self._seen = seen

    async def sweep(self) -> int:
        """Scores one batch of what is due; returns how many it took, be they scored or postponed.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        owner = uuid4().hex
        claimed = [
            _OutcomeClaim(store, due)
            for store in self._stores
            for due in await store.claim(self._now(), owner=owner, lease=_LEASE, limit=_BATCH)
        ]
        for (name, made_at, until), group in groupby(sorted(claimed, key=_window), key=_window):
            await self._score(name or None, made_at, until, tuple(group), owner)
        return len(claimed)

    async def _score(
        self,
        name: str | None,
        made_at: datetime,
        until: datetime,
        claims: Sequence[_OutcomeClaim],
        owner: str,
    ) -> None:
        """Scores recommendations of one source and window with one read of the source."""
        try:
            source = await self._source(name)
            latest = await source.latest()
            if latest < until:
                await self._wait(
                    claims, owner, f"There are no samples yet of {until.isoformat()}.", until - latest
                )
                return
            windows = await _windows(source, {one.due.workload for one in claims}, made_at, until)
        except UnavailableError:
            raise
        except PerfoptError as error:
            await self._wait(claims, owner, str(error), _backoff(claims[0].due))
            return
        except Exception:
            _log.exception("outcomes_not_read", source=name)
            await self._wait(claims, owner, _UNEXPECTED, _backoff(claims[0].due))
            return
        for one in claims:
            await self._score_one(one, windows.get(one.due.workload, _GONE), owner)

    async def _score_one(
        self, one: _OutcomeClaim, snapshot: WorkloadSnapshot | PerfoptError, owner: str
    ) -> None:
        """Scores one recommendation; what goes wrong with it holds up no other."""
        if isinstance(snapshot, PerfoptError) and not isinstance(snapshot, NoDataError):
            await self._wait((one,), owner, str(snapshot), _backoff(one.due))
            return
        try:
            outcome, days = await asyncio.to_thread(_scored, one.due, snapshot)
        except Exception:
            _log.exception("outcome_not_scored", key=one.due.key)
            await self._wait((one,), owner, _UNEXPECTED, _backoff(one.due))
            return
        await self._write(one, outcome, owner, days)

    async def _wait(self, claims: Sequence[_OutcomeClaim], owner: str, reason: str, delay: timedelta) -> None:
        """Tries again later; after 30 days it counts as not to be scored."""
        now = self._now()
        for one in claims:
            _, end = one.due.window
            if now - max(end, one.due.stored_at) > GIVE_UP:
                given_up = RecommendationOutcome(status="not_scored", applied=one.due.applied, reason=reason)
                await self._write(one, given_up, owner)
            else:
                until = now + min(max(delay, _SOONEST), _LATEST)
                await one.store.postpone(one.due.key, until, owner=owner)

    async def _write(
        self,
        one: _OutcomeClaim,
        outcome: RecommendationOutcome,
        owner: str,
        days: ServiceDays | None = None,
    ) -> None:
        if await one.store.record(one.due.key, outcome, owner=owner, now=self._now(), days=days):
            OUTCOMES.labels(_result(outcome)).inc()
            _log.info("outcome_recorded", key=one.due.key, status=outcome.status, accurate=outcome.accurate)


_UNEXPECTED = "Scoring it stopped on an error that perfopt did not expect; the worker's log has the details."
_GONE = NoDataError("The workload is not known to the source any more.")


def _result(outcome: RecommendationOutcome) -> str:
    if outcome.status != "scored":
        return "not_scored"
    return "accurate" if outcome.accurate else "inaccurate"


def _backoff(one: DueOutcome) -> timedelta:
    return _SOONEST * (1 << min(one.attempts, 8))


def _window(one: _OutcomeClaim) -> tuple[str, datetime, datetime]:
    return one.due.source or "", *one.due.window


async def _windows(
    source: MetricSource, wanted: set[str], start: datetime, end: datetime
) -> dict[str, WorkloadSnapshot | PerfoptError]:
    known = {str(workload.id): workload for workload in await source.inventory(end)}
    there = [known[identity] for identity in sorted(wanted & known.keys())]
    snapshots: dict[str, WorkloadSnapshot | PerfoptError] = {}
    if not there:
        return snapshots
    async for snapshot in source.snapshots(there, start, end, OUTCOME_METRICS):
        if isinstance(snapshot, FailedSnapshot):
            snapshots[str(snapshot.workload.id)] = snapshot.error
        else:
            snapshots[str(snapshot.workload.id)] = snapshot
    return snapshots


def _scored(
    due: DueOutcome, snapshot: WorkloadSnapshot | PerfoptError
) -> tuple[RecommendationOutcome, ServiceDays | None]:
    """Returns the outcome, and of what was in force its days."""
    outcome = _outcome(due, snapshot)
    if not due.applied or isinstance(snapshot, PerfoptError):
        return outcome, None
    target = parse_state(due.together or due.made[0].recommended_state)
    return outcome, ServiceDays(workload=due.workload, unsafe=unsafe_days(target, snapshot))


def _outcome(due: DueOutcome, snapshot: WorkloadSnapshot | PerfoptError) -> RecommendationOutcome:
    if isinstance(snapshot, PerfoptError):
        return RecommendationOutcome(status="not_scored", applied=due.applied, reason=snapshot.message)
    state = parse_state(due.made[0].current_state)
    window = replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, state=state))
    if due.together is None:
        scored = score_outcome(proposal_of(due.made[0]), window, applied=due.applied)
    else:
        # A claim is of all changes of its recommendation: one that lost a field claims nothing.
        parts = [
            proposal_of(recommendation, with_claim=not recommendation.conflicts)
            for recommendation in due.made
        ]
        scored = score_plan_outcome(parts, parse_state(due.together), window, applied=due.applied)
    score = scored.score
    if not score.scored:
        return RecommendationOutcome(status="not_scored", applied=due.applied, reason=score.reason)
    return RecommendationOutcome(
        status="scored",
        applied=due.applied,
        accurate=score.accurate,
        cpu_safe=score.cpu_safe,
        memory_safe=score.memory_safe,
        claim_kept=score.claim_met,
        cpu_waste=score.cpu_waste,
        memory_waste=score.memory_waste,
        censored=scored.censored,
    )
