"""What an apply job is to do, and where it stands: both are stored as JSON with the job."""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from perfopt.domain.enums import OptimizationStatus, OptimizationType, ServiceClass
from perfopt.domain.rules import TimeWindow
from perfopt_api.apply.cluster import Snapshot, WorkloadChange
from perfopt_api.apply.git import GitOrder
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.store.apply_port import TimelineEntry
from perfopt_api.store.port import JobError

Step = Literal[
    "preflight",
    "snapshot",
    "gates",
    "dry_run",
    "canary",
    "observe",
    "held",
    "next_stage",
    "rest",
    "verify",
    "publish",
    "rollback",
    "ended",
]
CHANGED_NOTHING: frozenset[Step] = frozenset({"preflight", "snapshot", "gates", "dry_run"})
"""Steps in which nothing of the cluster was changed yet, unless an earlier stage did."""


class ApplyOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to apply, fixed when the job is made.

    Attributes:
        stages: the change in steps of the largest size that policy allows; the last is the whole. Each is
            complete: it names every field.
        expected: by path, the values that the recommendation was made for; None is unset.
        recommendation_ids: what is applied.
        types: of these.
        mode: `canary` changes a few pods first; `direct` changes all and verifies afterwards.
        force: apply although it is outdated, and take fields over from other managers.
        verify_seconds: how long all pods are watched after the change; None is the policy's.
        automatic: nobody asked for it but the policy.
        confidence: of the recommendation; the lowest of several.
        service_class: of the service.
        strategy, strategy_version: which made it.
        valid_until: the recommendation's.
        allowed_windows: when rules allow it; empty is at any time.
        requires_approval: rules ask for another principal's approval.
        approval_rules: which rules, with their reasons.
        git: what is committed once the change is verified; None leaves Git alone.
        heap_containers: containers with a heap of their own (JVM, Node, Python): their memory is lowered
            only together with the heap, and not while they run.
        notes: what of the recommendation is left out, and why.
    """

    stages: tuple[WorkloadChange, ...]
    expected: dict[str, Any] = {}
    recommendation_ids: tuple[str, ...] = ()
    types: tuple[OptimizationType, ...] = ()
    mode: Literal["direct", "canary"] = "canary"
    force: bool = False
    verify_seconds: float | None = None
    automatic: bool = False
    confidence: float = 1.0
    service_class: ServiceClass = ServiceClass.STANDARD
    strategy: str = ""
    strategy_version: str = ""
    valid_until: datetime | None = None
    allowed_windows: tuple[TimeWindow, ...] = ()
    requires_approval: bool = False
    approval_rules: tuple[str, ...] = ()
    heap_containers: tuple[str, ...] = ()
    git: GitOrder | None = None
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> WorkloadChange:
        """The change that all stages come to."""
        return self.stages[-1]


class PodBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """How a pod was before it was changed: only what is worse is the change's doing."""

    uid: str
    oom_kills: int = 0
    restarts: int = 0
    ready: bool = True
    waiting: dict[str, str] = {}


class ApplyState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands. Every step begins from this alone and from what the cluster shows.

    Attributes:
        step: what is done next, or again.
        stage: index of the order's stage.
        since: when the step began.
        snapshot: of before the first change; kept until the job ends, and for a later rollback.
        written: a write to the cluster was begun: from here on going back may be needed.
        written_paths: paths that were set by an acknowledged write, in whatever stage.
        template_written: the present stage's template was set by an acknowledged write.
        canary: pods that get the change first.
        resized: pods that were asked for the change's sizes, in whatever stage.
        asking: the pod whose resize was noted, and is done next or was done just now.
        baselines: by pod, of before.
        observed_since: since when the changed pods have had the change; None before.
        deadline: of the observation.
        extensions: how often the deadline was put off.
        look: the last look of the verifier.
        looks: the looks so far without their sentences, oldest first; of many, evenly spread ones.
        failure: why it goes back; once set, nothing unsets it.
        manual: the failure is a change by somebody else: theirs is left.
        left_alone: paths and pods that somebody else changed.
        attempts: failed tries of the present step in a row; sets the backoff.
        unready_since: by pod, since when it is not ready, where it was before.
        waiting: the rule that it waits for: before anything is changed, or a freeze before the next write.
        approvals_seen: approvals there were when it began to wait for one more.
        revision: of the template when the watch of all pods began.
        rescue: no pod served when it began: only what raises is applied, and pods that serve again verify it.
        restored: going back was noted, and has begun to set what there was before.
    """

    step: Step = "preflight"
    stage: int = 0
    since: datetime | None = None
    snapshot: Snapshot | None = None
    written: bool = False
    written_paths: tuple[str, ...] = ()
    template_written: bool = False
    canary: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    asking: str = ""
    baselines: dict[str, PodBaseline] = {}
    observed_since: datetime | None = None
    deadline: datetime | None = None
    extensions: int = 0
    look: VerificationLook | None = None
    looks: tuple[VerificationLook, ...] = ()
    failure: JobError | None = None
    manual: bool = False
    left_alone: tuple[str, ...] = ()
    attempts: int = 0
    unready_since: dict[str, datetime] = {}
    waiting: str = ""
    approvals_seen: int = 0
    restored: bool = False
    revision: str = ""
    rescue: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What one step gave.

    Attributes:
        state: to be stored before anything else is done.
        entries: for the timeline.
        wait: until the next step, unless the cluster shows a change before; None is at once.
        release_until: nothing is changed yet and nothing can be done before: the workload is free meanwhile.
        start: the change is about to begin: it must be counted first.
        status: how the job ended; None while it goes on.
        verification: what the verification showed, in one sentence.
    """

    state: ApplyState
    entries: tuple[TimelineEntry, ...] = ()
    wait: timedelta | None = None
    release_until: datetime | None = None
    start: bool = False
    status: OptimizationStatus | None = None
    verification: str = ""
