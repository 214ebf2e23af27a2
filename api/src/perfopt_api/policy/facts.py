"""What policy is asked about, and what it answers."""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from perfopt.domain.enums import OptimizationType, ServiceClass
from perfopt.domain.rules import TimeWindow
from perfopt_api.policy.remedies import remedy_of
from perfopt_api.policy.windows import Spans

Outcome = Literal["allowed", "deferred", "approval", "denied"]


class ProposedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change that policy decides on.

    Attributes:
        job_id: of the job that makes it; empty before there is one.
        workload: `[cluster/]namespace/kind/name`.
        before, after: by path, the values it changes, as the port to a cluster names them.
        rescue: every changed pod is down already, and the change only raises.
        requester: who asked for it; None is nobody known.
        approvals: who approved it.
        frozen: why the cluster itself holds changes back (an annotation or a ConfigMap); None where not.
    """

    workload: str
    namespace: str
    cluster: str = ""
    job_id: str = ""
    types: tuple[OptimizationType, ...] = ()
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    confidence: float = 1.0
    service_class: ServiceClass = ServiceClass.STANDARD
    strategy: str = ""
    strategy_version: str = ""
    automatic: bool = False
    force: bool = False
    rescue: bool = False
    requires_approval: bool = False
    approval_rules: tuple[str, ...] = ()
    allowed_windows: tuple[TimeWindow, ...] = ()
    requester: str | None = None
    approvals: tuple[str, ...] = ()
    frozen: str | None = None


class PolicyClock(msgspec.Struct, frozen=True, kw_only=True):
    """What policy knows of the time.

    Attributes:
        now: UTC.
        sessions: of each configured exchange; None where its calendar cannot be had.
        up_for: how long this worker has run.
    """

    now: datetime
    sessions: dict[str, Spans | None] = {}
    up_for: timedelta = timedelta(days=1)


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What policy says of a change.

    Attributes:
        outcome: allowed, deferred (later), approval (of another principal is needed) or denied.
        rule: the setting or rule that decides; empty where it is allowed.
        reason: one sentence with figures.
        until: when to ask again, where it is deferred; None where only an event can tell.
    """

    outcome: Outcome
    rule: str = ""
    reason: str = ""
    until: datetime | None = None

    @property
    def remedy(self) -> str:
        """What a person can do about it; empty where it is allowed."""
        return remedy_of(self.rule)

    @property
    def sentence(self) -> str:
        """Rule, reason and remedy."""
        return f"{self.rule}: {self.reason} {self.remedy}".rstrip()


ALLOWED = Decision(outcome="allowed")
