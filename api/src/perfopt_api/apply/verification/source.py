"""The verifier over a metric source: reads what the pods did, and compares."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError, SourceError
from perfopt.metrics.pods import PodHistory
from perfopt.sources.base import FailedSnapshot, KnowsPods, MetricSource
from perfopt_api.apply.cluster import WorkloadChange, WorkloadTarget
from perfopt_api.apply.verification.before_after import (
    BeforeAfterTest,
    look_before_after,
    prepare_before_after,
)
from perfopt_api.apply.verification.budget import error_budget
from perfopt_api.apply.verification.canary import CanaryTest, look, prepare
from perfopt_api.apply.verification.harm import SHARE, HarmVerdict, MetricBounds, compared_metrics
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.apply.verifier import ErrorBudget, HarmBounds, VerificationLook

_KEPT_TESTS = 256
_READY = timedelta(minutes=10)
_PEAKS = timedelta(days=1)
_RUN_PEAKS = timedelta(days=14)  # of a CronJob, which may have no run on a day
_BUDGET_STEP = timedelta(hours=1)
_SMALL = 0.1  # shares of requests, which two decimals would not show
_NEEDED = (
    "requests by pod with their status or a latency histogram",
    "CPU throttling by pod (container_cpu_cfs_periods_total)",
)


class SourceVerifier:
    """Implements perfopt_api.apply.verifier.Verifier.

    What is fixed before a change is computed at its first look and kept; after a restart it is computed anew
    from the same past, to the same result.

    Args:
        source: of metrics.
        settings: how it is judged.
        clock: tells the time.
    """

    def __init__(
        self,
        source: MetricSource,
        settings: VerificationSettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._clock = clock
        self._settings = settings
        self._step = timedelta(seconds=settings.step_seconds)
        self._canary_tests: OrderedDict[tuple[object, ...], CanaryTest] = OrderedDict()
        self._after_tests: OrderedDict[tuple[object, ...], BeforeAfterTest] = OrderedDict()

    async def look(
        self,
        change: WorkloadChange,
        canary_pods: Sequence[str],
        since: datetime,
        until: datetime,
        *,
        horizon: timedelta,
    ) -> VerificationLook:
        """Compares the changed pods with the others, or all pods with the time before; see Verifier."""
        workload = await self._workload(change.target, until)
        steps = max(round(horizon / self._step), 1)
        if canary_pods:
            return await self._beside_control(workload, tuple(sorted(canary_pods)), since, until, steps)
        return await self._before_and_after(workload, since, until, steps)

    async def ready(self, target: WorkloadTarget) -> Sequence[str]:
        """Returns the series that are missing; see Verifier."""
        at = self._clock()
        try:
            workload = await self._workload(target, at)
            history = await self._read(workload, None, at - _READY, at)
        except NoDataError as error:
            return (f"its pods ({error.message.removesuffix('.')})",)
        return () if compared_metrics(history, self._settings.margins) else _NEEDED

    async def memory_peaks(self, target: WorkloadTarget) -> Mapping[str, float]:
        """Returns the highest memory in use by container over the last day, in bytes; see Verifier."""
        at = self._clock()
        workload = await self._workload(target, at)
        past = _RUN_PEAKS if target.runs else _PEAKS
        async for snapshot in self._source.snapshots([workload], at - past, at, ("memory_bytes",)):
            if isinstance(snapshot, FailedSnapshot):
                raise snapshot.error
            return {
                name: float(np.nanmax(series.values))
                for name, metrics in snapshot.containers.items()
                if (series := metrics.get("memory_bytes")) is not None and np.isfinite(series.values).any()
            }
        return {}

    async def throttled(self, target: WorkloadTarget) -> float:
        """Returns the share of throttled CPU periods over the last ten minutes; see Verifier."""
        at = self._clock()
        history = await self._read(await self._workload(target, at), None, at - _READY, at)
        share = history.levels.get("cpu_throttled_fraction")
        if share is None or not np.isfinite(share).any():
            raise NoDataError(f"The CPU throttling of {target.key} is not known.")
        return float(np.nanmean(share))

    async def error_budget(self, target: WorkloadTarget, days: float) -> ErrorBudget | None:
        """Returns what the workload's objective has left; see Verifier."""
        at = self._clock()
        workload = await self._workload(target, at)
        if workload.slo is None:
            return None
        history = await self._read(workload, None, at - timedelta(days=days), at, _BUDGET_STEP)
        budget = error_budget(workload.slo, history)
        if budget is None:
            raise NoDataError(
                f"The latency of {target.key} by request is not known, and it has an objective.",
                remedy="Look whether its histogram of latency is scraped.",
            )
        return budget

    async def _beside_control(
        self, workload: Workload, canary: tuple[str, ...], since: datetime, until: datetime, steps: int
    ) -> VerificationLook:
        key = (workload.id, canary, since, steps)
        test = self._canary_tests.get(key)
        if test is None:
            alive = await self._read(workload, None, since - 2 * self._step, until)
            others = [pod for pod in alive.pods if pod not in set(canary)]
            pods = [*canary, *others[: max(self._settings.pods - len(canary), 1)]]
            if not others:
                return _unknown("There is no pod beside the canary to compare it with.", until)
            past = timedelta(hours=self._settings.past_hours)
            before = await self._read(workload, pods, since - past, since)
            test = await asyncio.to_thread(self._prepare, before, canary, steps)
            _keep(self._canary_tests, key, test)
        after = await self._read(workload, [*test.canary, *test.control], since, until)
        verdict = await asyncio.to_thread(look, test, after)
        kills = after.of(test.canary).kills
        killed = 0 if kills is None else int(np.nansum(kills))
        return _answer(verdict, killed, "concurrent_control", until, test.calibration.alpha)

    def _prepare(self, past: PodHistory, canary: Sequence[str], steps: int) -> CanaryTest:
        return prepare(
            past,
            canary,
            steps,
            alpha=self._settings.alpha,
            beta=self._settings.beta,
            margins=self._settings.margins,
            placebos=self._settings.placebos,
        )

    async def _before_and_after(
        self, workload: Workload, since: datetime, until: datetime, steps: int
    ) -> VerificationLook:
        key = (workload.id, since, steps)
        test = self._after_tests.get(key)
        if test is None:
            past = timedelta(days=self._settings.past_days)
            before = await self._read(workload, None, since - past, since)
            test = await asyncio.to_thread(
                prepare_before_after,
                before,
                steps,
                alpha=self._settings.alpha,
                beta=self._settings.beta,
                margins=self._settings.margins,
            )
            _keep(self._after_tests, key, test)
        history = await self._read(workload, None, since - test.before * self._step, until)
        changed = history.grid.index(since)
        verdict = await asyncio.to_thread(look_before_after, test, history, changed)
        kills = history.between(changed, history.grid.size).kills
        killed = 0 if kills is None else int(np.nansum(kills))
        return _answer(verdict, killed, "before_and_after", until, test.calibration.alpha)

    async def _workload(self, target: WorkloadTarget, at: datetime) -> Workload:
        """Returns the workload of the source's inventory that a target is.

        Raises:
            NoDataError: the source knows no such workload.
        """
        wanted = target.namespace, target.kind.lower(), target.name
        for workload in await self._source.inventory(at):
            identity = workload.id
            same = (identity.namespace, identity.kind.lower(), identity.name) == wanted
            if same and target.cluster in ("", identity.cluster):
                return workload
        raise NoDataError(
            f"The metric source {self._source.name} knows no {target.key}.",
            remedy="Look whether it scrapes that cluster's kube-state-metrics.",
        )

    async def _read(
        self,
        workload: Workload,
        pods: Sequence[str] | None,
        start: datetime,
        end: datetime,
        step: timedelta | None = None,
    ) -> PodHistory:
        if not isinstance(self._source, KnowsPods):
            raise SourceError(
                f"The metric source {self._source.name} does not tell the pods of a workload apart.",
                remedy="Changes are verified by a Prometheus.",
            )
        return await self._source.pod_history(workload, pods, start, end, step or self._step)


def _keep[TestT](cache: OrderedDict[tuple[object, ...], TestT], key: tuple[object, ...], test: TestT) -> None:
    cache[key] = test
    while len(cache) > _KEPT_TESTS:
        cache.popitem(last=False)


def _unknown(reason: str, until: datetime) -> VerificationLook:
    return VerificationLook(verdict="inconclusive", reason=reason, at=until)


def _answer(
    verdict: HarmVerdict, killed: int, method: str, until: datetime, alpha: float
) -> VerificationLook:
    return VerificationLook(
        verdict="failed" if killed else verdict.verdict.value,
        reason=_reason(verdict, killed, alpha),
        metric="oom_kills" if killed else verdict.metric,
        bounds={
            one.name: HarmBounds(estimate=one.estimate, lower=one.lower, upper=one.upper, margin=one.margin)
            for one in verdict.bounds
        },
        killed=killed,
        method="concurrent_control" if method == "concurrent_control" else "before_and_after",
        at=until,
    )


def _reason(verdict: HarmVerdict, killed: int, alpha: float) -> str:
    """Returns one sentence with figures, such as operators read it in the timeline."""
    if killed:
        return f"{killed} OOM kills since the change."
    known = [one for one in verdict.bounds if one.estimate is not None]
    if not known:
        return "There are no data of the changed pods yet."
    shown = [
        one
        for one in known
        if verdict.metric in (None, one.name.removesuffix(SHARE)) or verdict.verdict == "passed"
    ]
    figures = "; ".join(figures_of(one) for one in shown)
    what = {
        "failed": "Harm is shown",
        "passed": "More harm than accepted is ruled out",
        "inconclusive": "Neither harm nor its absence is shown yet",
    }[verdict.verdict.value]
    return f"{what} at a false-alarm rate of {alpha:.1%}: {figures}."


def figures_of(bounds: MetricBounds) -> str:
    """Returns the estimate of a metric's harm with its bounds and the margin."""
    range_ = _range(bounds.lower, bounds.upper)
    return f"{bounds.name} {_number(bounds.estimate)} ({range_}, accepted {_number(bounds.margin)})"


def _range(lower: float | None, upper: float | None) -> str:
    if lower is None and upper is None:
        return "bounds unknown yet"
    if lower is None:
        return f"at most {_number(upper)}"
    if upper is None:
        return f"at least {_number(lower)}"
    return f"{_number(lower)} to {_number(upper)}"


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    digits = 4 if abs(value) < _SMALL else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"  # -0.0 is shown as 0
