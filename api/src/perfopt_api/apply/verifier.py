"""The port between the apply state machine and what judges a change by its pods' series."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec

from perfopt_api.apply.cluster import WorkloadChange, WorkloadTarget

Verdict = Literal["passed", "failed", "inconclusive"]


class HarmBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the harm in one metric, valid at whatever time one looks; above zero the change does worse.

    Attributes:
        estimate, lower, upper: None where there are no data.
        margin: the harm that is accepted, in the same unit.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float


class VerificationLook(msgspec.Struct, frozen=True, kw_only=True):
    """What the series show of a change up to one look.

    Attributes:
        verdict: passed (every metric's harm is below its margin), failed, inconclusive; no data is no pass.
        reason: one sentence with figures.
        metric: that decided it; None where none did.
        bounds: by metric.
        killed: OOM kills of changed pods since the change.
        method: how it was compared: `concurrent_control`, or `before_and_after` where there is no control.
        at: the last instant that the look takes in.
    """

    verdict: Verdict
    reason: str
    metric: str | None = None
    bounds: dict[str, HarmBounds] = {}
    killed: int = 0
    method: Literal["concurrent_control", "before_and_after"] = "concurrent_control"
    at: datetime | None = None


class ErrorBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The error budget of a service over the days that were read.

    Attributes:
        objective: in words.
        requests: that were served.
        bad: of those the ones that failed or were slower than the objective.
        left: share of the budget that is not used; below 0 it is overdrawn.
    """

    objective: str
    requests: float
    bad: float
    left: float


class Verifier(Protocol):
    """Judges changes. A look costs at most 50 ms of CPU.

    Every operation raises SourceUnavailableError where the metric source does not answer: the state machine
    takes that for no data, waits, and asks again until the deadline of the step.
    """

    async def look(
        self,
        change: WorkloadChange,
        canary_pods: Sequence[str],
        since: datetime,
        until: datetime,
        *,
        horizon: timedelta,
    ) -> VerificationLook:
        """Compares the changed pods with the others, from the change on.

        Args:
            change: that was made.
            canary_pods: the pods that have it; empty where all have it, which compares with the time before.
            since: when the last of them had it (after a rollout: was ready).
            until: the last instant to look at.
            horizon: from `since` on, after which one wants to know; the bounds are narrowest there.
        """

    async def ready(self, target: WorkloadTarget) -> Sequence[str]:
        """Returns the series that a verification needs and that are missing or stale; empty is ready."""

    async def memory_peaks(self, target: WorkloadTarget) -> Mapping[str, float]:
        """Returns by container the highest memory in use of any pod over the last day, in bytes, read now.

        Of a CronJob it is that of the last two weeks. A container that is missing is not known: its memory is
        not lowered.
        """

    async def throttled(self, target: WorkloadTarget) -> float:
        """Returns the share of CPU periods of the last ten minutes in which its pods were throttled.

        Raises:
            NoDataError: nothing shows it.
        """

    async def error_budget(self, target: WorkloadTarget, days: float) -> ErrorBudget | None:
        """Returns what a workload's latency objective has left over the last days; None where it has none.

        Raises:
            NoDataError: it has an objective, and the series that show it are missing.
        """
