"""The section `hooks` of the configuration: HTTP gates of changes, and who is notified of them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.config import Config
from perfopt.config.prometheus import resolve_secret

SECTION = "hooks"
_NAME = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
_URL = Annotated[str, Meta(pattern="^(https?://|env:|file:)", max_length=2000)]
Point = Literal["confirm", "pre", "post", "rollback"]
NotifiedEvent = Literal[
    "attention_needed", "applied", "rolled_back", "job_status_changed", "strategy_demoted"
]


class GateHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL that decides on changes: it gets a POST with the change, and is open where it answers 2xx.

    Attributes:
        url: where it is asked; also `env:NAME` or `file:/path`.
        points: when. `confirm`: before a change begins, which waits until it is open. `pre`: just before the
            first write, `post`: after the verification; where one is closed the change is refused or taken
            back. `rollback`: while the change is watched; where it is open the change is taken back.
        token: sent as `Authorization: Bearer`; also `env:NAME` or `file:/path`.
        timeout_seconds: for one answer.
        retries: attempts after the first, on connection errors, timeouts, 429 and 5xx. A gate that cannot be
            reached is closed. At `rollback` it is asked again at the next look instead.
    """

    url: _URL
    points: Annotated[tuple[Point, ...], Meta(min_length=1)] = ("confirm",)
    token: Annotated[str, Meta(max_length=2000)] | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2


class NotificationHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL that is told what became of changes. The same events are on NATS.

    Attributes:
        url: where events are posted; also `env:NAME` or `file:/path`.
        format: `webhook` posts the event as it is on NATS, with its CloudEvents headers; `slack` posts one
            line of text, as Slack and Mattermost take it.
        events: which. `attention_needed` is a change that waits for an approval or is held, and a rollback
            that fails.
        token: sent as `Authorization: Bearer`; also `env:NAME` or `file:/path`.
        timeout_seconds: for one answer.
        attempts: deliveries of one event, the waits between them doubling up to five minutes; then it is
            given up, logged, and counted in `perfopt_notifications_total`.
    """

    url: _URL
    format: Literal["webhook", "slack"] = "webhook"
    events: Annotated[tuple[NotifiedEvent, ...], Meta(min_length=1)] = (
        "attention_needed",
        "applied",
        "rolled_back",
        "strategy_demoted",
    )
    token: Annotated[str, Meta(max_length=2000)] | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    attempts: Annotated[int, Meta(ge=1, le=100)] = 20


class HookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gates of changes and notifications, by name.

    Attributes:
        gates: asked about changes; all gates of a point must be open.
        notifications: told of events.
    """

    gates: dict[_NAME, GateHook] = {}
    notifications: dict[_NAME, NotificationHook] = {}


NO_HOOKS = HookSettings()


def hook_settings(config: Config) -> HookSettings:
    """Returns the hooks of a configuration, what `env:` and `file:` name put in.

    Raises:
        InvalidInputError: an unknown field, a wrong value, or a secret that is not there.
    """
    settings = config.section(SECTION, HookSettings)
    return HookSettings(
        gates={name: _resolved(hook, f"gates.{name}") for name, hook in settings.gates.items()},
        notifications={
            name: _resolved(hook, f"notifications.{name}") for name, hook in settings.notifications.items()
        },
    )


def _resolved[HookT: (GateHook, NotificationHook)](hook: HookT, where: str) -> HookT:
    return msgspec.structs.replace(
        hook,
        url=resolve_secret(hook.url, f"{SECTION}.{where}.url"),
        token=None if hook.token is None else resolve_secret(hook.token, f"{SECTION}.{where}.token"),
    )
