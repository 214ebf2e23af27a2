"""The section `policy` of the configuration: whether, when and how far changes are made."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.config import Config
from perfopt.domain.enums import OptimizationType, ServiceClass
from perfopt.domain.quantity import parse_quantity
from perfopt.errors import InvalidInputError

SECTION = "policy"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)"
)

Share = Annotated[float, Meta(ge=0, le=1)]
Minutes = Annotated[float, Meta(ge=0, le=100_000)]
Direction = Literal["up", "down"]


class WeeklyWindow(msgspec.Struct, frozen=True):
    """A span of the day on some days of the week, UTC.

    Attributes:
        days: 0 is Monday.
        start, end: minutes of the day; an end at or before the start is of the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "WeeklyWindow":
        """Reads `mon-fri 18:00-06:00`, `sat 00:00-24:00` or `22:00-04:00`.

        Raises:
            ValueError: it is none.
        """
        match = _WINDOW.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(f"{text!r} is no window such as `mon-fri 18:00-06:00`")
        first = match["first"] or "mon"
        last = match["last"] or (match["first"] or "sun")
        if first not in _DAYS or last not in _DAYS:
            raise ValueError(f"{text!r} names a day that is none of {', '.join(_DAYS)}")
        begin, length = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7 + 1
        days = frozenset((begin + offset) % 7 for offset in range(length))
        return cls(days, _minute(match["start"]), _minute(match["end"]))


def _minute(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if hours * 60 + minutes > 24 * 60 or minutes > 59:
        raise ValueError(f"{text!r} is no time of the day")
    return hours * 60 + minutes


class SizeRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a workload's containers and replicas may be changed to; unset is unbounded.

    Attributes:
        cpu_min, cpu_max: of a container's CPU request and limit, as Kubernetes quantities.
        memory_min, memory_max: of a container's memory request and limit.
        replicas_min, replicas_max: of replicas, and of an autoscaler's bounds.
    """

    cpu_min: str | None = None
    cpu_max: str | None = None
    memory_min: str | None = None
    memory_max: str | None = None
    replicas_min: Annotated[int, Meta(ge=0)] | None = None
    replicas_max: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Refuses what is no quantity."""
        for name in ("cpu_min", "cpu_max", "memory_min", "memory_max"):
            text = getattr(self, name)
            if text is None:
                continue
            try:
                parse_quantity(text)
            except InvalidInputError as error:
                raise ValueError(f"{name}: {error.message}") from error


def range_of(workload: str, ranges: Mapping[str, SizeRange]) -> SizeRange | None:
    """Returns what sizes may be changed to, by the first pattern that matches; None where none does.

    Args:
        workload: `[cluster/]namespace/kind/name`.
        ranges: by pattern of `namespace/kind/name`, or of all of it.
    """
    own = "/".join(workload.split("/")[-3:])
    for pattern, bounds in ranges.items():
        if fnmatchcase(own, pattern) or fnmatchcase(workload, pattern):
            return bounds
    return None


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether, when and how far changes are made in a cluster. Times are UTC.

    Attributes:
        apply: `off` changes nothing; `manual` applies what somebody asks for; `auto` also what an analysis
            with `auto_apply: true` recommends and the settings below allow.
        cluster: name of the metric source whose cluster is changed, and by whose series changes are verified;
            unset is the default source.
        take_over_from: field managers whose fields a change may take over, such as `kubectl` or `helm`;
            with any other it ends as a conflict.
        confidence_floor: a recommendation of less confidence is not applied.
        auto_classes: service classes that are changed without anybody asking.
        auto_types: types of recommendations that are applied without anybody asking.
        auto_directions: `up` and `down`, of sizes and replicas, that are applied without anybody asking.
        largest_step_down: the most that one change lowers a value by, as a share of it; more is done in
            several changes, each verified before the next.
        largest_step_up: the most that one change raises a value to, as a multiple of it.
        windows: when changes may begin: `mon-fri 18:00-06:00`, a list; empty is at any time.
        exchanges: ISO 10383 codes of exchanges during whose sessions no change begins.
        session_margin_minutes: before the open and after the close of a session, in which none begins either.
        max_in_flight: changes that run at once; a CronJob that waits for its next run does not count.
        max_in_flight_namespace: changes that run at once in one namespace.
        max_per_hour: changes that begin within an hour of the clock, in one cluster.
        max_per_hour_namespace: changes that begin within an hour, in one namespace.
        ramp_minutes: after a worker starts, the time over which max_in_flight grows from 1.
        cooldown_minutes: after a change of a workload, before the next begins; doubled for each rollback or
            failure in a row.
        breaker_failures: so many rollbacks that nobody asked for within breaker_hours in a namespace, or of
            a strategy's version, stop further changes there until the oldest is that old.
        breaker_hours: see breaker_failures.
        ranges: by pattern of `namespace/kind/name` (`*` matches anything), what sizes may be changed to; the
            first pattern that matches counts.
        approvals: how many principals other than the requester must approve where approval is asked for.
        approve_automatic: whether what nobody asked for waits for an approval.
        canary_share: pods that are changed first, as a share of all, at least one.
        observe_minutes: how long a canary is compared with the other pods at most.
        verify_minutes: how long all pods are watched after the change at most, where a canary passed.
        alone_minutes: the same where there was no canary: one replica, or all changed at once.
        settle_minutes: no change begins so soon after a rollout or a fresh image.
        rescue_anytime: whether a change that only raises, of a workload whose pods are all down, does not
            wait for windows and sessions.
        restart_single_replica: whether a change may end the only pod of a workload before another is ready:
            `always`, `on_request` (where somebody asked for the change), or `never`.
        extensions: how often an inconclusive verification is given the same time again.
        inconclusive: what follows then: `take_back`, or `hold` until somebody approves or takes it back.
        not_ready_seconds: a changed pod that is not ready for longer has failed.
        resize_seconds: how long a pod may wait for room on its node (Deferred) before it is taken back.
        rollout_minutes: how long a rollout may take.
        memory_margin: memory is lowered to no less than the peak read just before, plus this share.
        error_budget_left: no change begins while less of the error budget of the workload's latency objective
            is left, as a share; 0 does not look at it. Without an objective there is no budget.
        error_budget_days: over which the budget is counted.
        strategy_floor: a strategy whose applied recommendations of a class were accurate more seldom is only
            advice from then on.
        strategy_min_scored: after so many scored recommendations at least.
    """

    apply: Literal["off", "manual", "auto"] | bool = "off"
    cluster: str | None = None
    take_over_from: tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...] = ()
    confidence_floor: Share = 0.8
    auto_classes: tuple[ServiceClass, ...] = (ServiceClass.STANDARD, ServiceClass.BATCH)
    auto_types: tuple[OptimizationType, ...] = (OptimizationType.RESOURCE_OPTIMIZATION,)
    auto_directions: tuple[Direction, ...] = ("up", "down")
    largest_step_down: Annotated[float, Meta(gt=0, le=1)] = 0.5
    largest_step_up: Annotated[float, Meta(gt=1, le=1000)] = 4.0
    windows: tuple[str, ...] = ()
    exchanges: tuple[Annotated[str, Meta(pattern="^[A-Za-z0-9_/]{2,20}$")], ...] = ("XNYS",)
    session_margin_minutes: Minutes = 30.0
    max_in_flight: Annotated[int, Meta(ge=1, le=10_000)] = 10
    max_in_flight_namespace: Annotated[int, Meta(ge=1, le=10_000)] = 3
    max_per_hour: Annotated[int, Meta(ge=1, le=100_000)] = 30
    max_per_hour_namespace: Annotated[int, Meta(ge=1, le=100_000)] = 10
    ramp_minutes: Minutes = 30.0
    cooldown_minutes: Minutes = 60.0
    breaker_failures: Annotated[int, Meta(ge=1, le=1000)] = 3
    breaker_hours: Annotated[float, Meta(gt=0, le=336)] = 24.0
    ranges: dict[str, SizeRange] = {}
    approvals: Annotated[int, Meta(ge=1, le=10)] = 1
    approve_automatic: bool = False
    canary_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    observe_minutes: Annotated[float, Meta(gt=0, le=10_080)] = 30.0
    verify_minutes: Annotated[float, Meta(gt=0, le=10_080)] = 30.0
    alone_minutes: Annotated[float, Meta(gt=0, le=10_080)] = 60.0
    settle_minutes: Minutes = 10.0
    rescue_anytime: bool = False
    restart_single_replica: Literal["always", "on_request", "never"] = "on_request"
    extensions: Annotated[int, Meta(ge=0, le=100)] = 1
    inconclusive: Literal["take_back", "hold"] = "take_back"
    not_ready_seconds: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    resize_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    rollout_minutes: Annotated[float, Meta(gt=0, le=1440)] = 30.0
    memory_margin: Annotated[float, Meta(ge=0, le=10)] = 0.1
    error_budget_left: Share = 0.1
    error_budget_days: Annotated[float, Meta(gt=0, le=90)] = 28.0
    strategy_floor: Share = 0.8
    strategy_min_scored: Annotated[int, Meta(ge=1, le=100_000)] = 20

    def __post_init__(self) -> None:
        """Refuses windows that are none, and reads `off` as YAML does: unquoted, it is false there."""
        if isinstance(self.apply, bool):
            if self.apply:
                raise ValueError("`apply` is `off`, `manual` or `auto`")
            msgspec.structs.force_setattr(self, "apply", "off")
        for text in self.windows:
            WeeklyWindow.parse(text)


def policy_settings(config: Config) -> PolicySettings:
    """Returns the policy of a configuration.

    Raises:
        InvalidInputError: an unknown field or a wrong value; names the key and the file.
    """
    return config.section(SECTION, PolicySettings)
