"""Rule packs as data: what a YAML file says after it was read and checked. Frozen and picklable."""

from datetime import timedelta
from typing import Any, Literal

import msgspec

from perfopt.domain.enums import DeclineCode, ServiceClass

API_VERSION = "perfopt.io/v1"

Scope = Literal["workload", "containers"]
ParameterType = Literal["cpu", "memory", "duration", "number", "integer", "text", "texts", "boolean"]
Tighten = Literal["higher", "lower", "more"]
ParameterValue = float | int | str | bool | timedelta | tuple[str, ...]


class PackPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a pack: no field goes unread."""


class ClampAction(PackPart, frozen=True, kw_only=True):
    """Keeps fields within bounds; a request and its limit, minimum and maximum, stay in order.

    Attributes:
        fields: by the names of `perfopt.rules.fields`.
        at_least, at_most: a quantity ("200m", "16Mi", 3) or a CEL expression for it.
    """

    fields: tuple[str, ...]
    at_least: str | int | float | None = None
    at_most: str | int | float | None = None


class RoundAction(PackPart, frozen=True, kw_only=True):
    """Rounds fields to a multiple.

    Attributes:
        to: the multiple, a quantity or a CEL expression for it.
    """

    fields: tuple[str, ...]
    to: str | int | float
    direction: Literal["up", "down", "nearest"] = "up"


class VetoAction(PackPart, frozen=True, kw_only=True):
    """No recommendation, with the rule's reason."""

    code: DeclineCode = DeclineCode.VETOED


class RequireApproval(PackPart, frozen=True, kw_only=True):
    """A person must agree before it is applied."""


class WeeklyWindow(PackPart, frozen=True, kw_only=True):
    """A weekly time window.

    Attributes:
        days: "mon" to "sun", of the window's start.
        start, end: local time "HH:MM"; an end at or before the start is on the next day.
        timezone: IANA name.
    """

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...]
    start: str
    end: str
    timezone: str = "UTC"


class DeferAction(PackPart, frozen=True, kw_only=True):
    """May be applied in some windows only.

    Attributes:
        windows: the allowed ones.
        outside_sessions: an exchange by its ISO 10383 code, or `params.NAME`; allowed while it is closed.
        before, after: durations, or `params.NAME`, that count as open around a session.
    """

    windows: tuple[WeeklyWindow, ...] = ()
    outside_sessions: str | None = None
    before: str = ""
    after: str = ""


class SetClass(PackPart, frozen=True, kw_only=True):
    """Has the workload analysed as of another class."""

    to: ServiceClass


class PreferAction(PackPart, frozen=True, kw_only=True):
    """Multiplies the value of the proposal in ranking and in conflicts with others."""

    weight: float


class RuleAction(PackPart, frozen=True, kw_only=True):
    """What a rule does: exactly one of the fields is set."""

    clamp: ClampAction | None = None
    round: RoundAction | None = None
    veto: VetoAction | None = None
    require_approval: RequireApproval | None = None
    defer: DeferAction | None = None
    set_class: SetClass | None = None
    annotate: dict[str, str] | None = None
    prefer: PreferAction | None = None

    @property
    def kind(self) -> str:
        """Name of the field that is set."""
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)


class PackRule(PackPart, frozen=True, kw_only=True):
    """A condition and what is done where it holds.

    Attributes:
        name: [a-z][a-z0-9_]*, unique in its pack.
        reason: one sentence for the operator who reads the recommendation.
        scope: tried once for the workload, or once for each of its containers.
        when: CEL, true or false; None always holds.
        when_unknown: what is done where the condition needs a value that is not known. A bound that is not
            known never changes anything.
        actions: in order.
        remedy: one sentence on what to do where it contradicts another safety rule.
    """

    name: str
    reason: str
    actions: tuple[RuleAction, ...]
    scope: Scope = msgspec.field(name="for", default="workload")
    when: str | None = None
    when_unknown: Literal["skip", "fire"] = "skip"
    remedy: str | None = None

    @property
    def changes(self) -> bool:
        """Whether it changes the target."""
        return any(action.kind in ("clamp", "round") for action in self.actions)

    @property
    def prepares(self) -> bool:
        """Whether it is tried before strategies are asked."""
        return any(action.kind == "set_class" for action in self.actions)


class PackParameter(PackPart, frozen=True, kw_only=True):
    """A setting of a pack, `params.NAME` in its expressions.

    Attributes:
        default: a ParameterValue of the type, once it was read.
        tighten: which way users of the pack may move it: annotations of a workload in every pack, and
            everyone in a safety pack. None there is not at all.
        values: the texts allowed; empty is any.
    """

    type: ParameterType
    default: Any
    description: str
    tighten: Tighten | None = None
    values: tuple[str, ...] = ()


class RulePack(PackPart, frozen=True, kw_only=True):
    """Rules that belong together.

    Attributes:
        name: [a-z][a-z0-9-]*, unique in an installation.
        version: of the pack, major.minor.patch.
        safety: its rules run after those of all other packs and nothing can switch it off or widen it.
        enabled: takes part unless the configuration says otherwise.
        priority: packs of a layer run in this order, then by name.
        origin: the file, for errors and lists.
    """

    name: str
    version: str
    description: str
    safety: bool = False
    enabled: bool = True
    priority: int = 100
    parameters: dict[str, PackParameter] = {}
    rules: tuple[PackRule, ...]
    origin: str = ""
