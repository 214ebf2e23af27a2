"""Reads sessions of exchanges in a process of its own: their library takes 70 MiB and a second."""

from datetime import datetime

import msgspec

from perfopt.engine.channel import MessageChannel
from perfopt.engine.child import ChildProcess
from perfopt_api.policy.windows import Spans

_SECONDS = 60.0


class _SessionsRequest(msgspec.Struct, frozen=True):
    exchanges: tuple[str, ...]
    start: datetime
    end: datetime


def read_sessions(exchanges: tuple[str, ...], start: datetime, end: datetime) -> dict[str, Spans | None]:
    """Returns the sessions of exchanges over [start, end); None of one that is not known.

    Raises:
        ChildError: the process did not answer.
    """
    child = ChildProcess(f"{__name__}:main")
    try:
        child.send(msgspec.json.encode(_SessionsRequest(exchanges, start, end)))
        return msgspec.json.decode(child.receive(_SECONDS), type=dict[str, Spans | None])
    finally:
        child.kill()


def main() -> None:
    """Answers one request."""
    from perfopt.engine.sessions import sessions_of  # here, as the parent must not import it

    channel = MessageChannel()
    wanted = msgspec.json.decode(channel.receive(), type=_SessionsRequest)
    found, _ = sessions_of(wanted.exchanges, wanted.start, wanted.end)
    channel.send(msgspec.json.encode({name: found.get(name) for name in wanted.exchanges}))
