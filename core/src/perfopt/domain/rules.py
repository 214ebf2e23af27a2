"""What declarative rules leave on a recommendation: what they changed, and when it may be applied."""

from datetime import datetime

import msgspec


class FiredRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that one rule did.

    Attributes:
        pack, version, rule: which one.
        action: what it did: "clamp", "round" ("clamp/round" for a rule that does both), "require_approval",
            "defer", "set_class", "annotate" or "prefer".
        reason: the rule's sentence.
        container: where it changed a container.
        field: of the state map that it changed, such as "memory_request", or the annotation's key.
        before, after: value of the field; quantities as Kubernetes strings, None is unset.
    """

    pack: str
    version: str
    rule: str
    action: str
    reason: str
    container: str | None = None
    field: str | None = None
    before: str | int | float | None = None
    after: str | int | float | None = None


class TimeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The time [start, end), UTC."""

    start: datetime
    end: datetime


class ApplyConditions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What rules ask of whoever applies a proposal.

    Attributes:
        requires_approval: a person must agree to it; the fired rules say why.
        allowed_windows: when it may be applied, within its validity; empty is at any time.
        annotations: notes of rules, by key.
        preference: factor on its value in ranking and in conflicts with other proposals.
    """

    requires_approval: bool = False
    allowed_windows: tuple[TimeWindow, ...] = ()
    annotations: dict[str, str] = {}
    preference: float = 1.0

    def not_before(self, made_at: datetime) -> datetime | None:
        """Returns the first instant at which it may be applied, None where that is at once."""
        if not self.allowed_windows or self.allowed_windows[0].start <= made_at:
            return None
        return self.allowed_windows[0].start
