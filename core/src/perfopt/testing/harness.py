"""Runs one strategy on one case after the other, in a process of its own, and reports what it saw."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import msgspec

from perfopt.engine.channel import MessageChannel
from perfopt.engine.foreign import describe
from perfopt.engine.messages import encode
from perfopt.engine.pipeline import with_forecasts
from perfopt.engine.proposals import ProposalError, checked
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Strategy

_FORBIDDEN = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.fork",
    "os.system",
)
_FORBIDDEN_PREFIXES = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "shutil.", "urllib.")
_SHOWN = 3


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one call; None and empty are good.

    Attributes:
        raised: what it raised.
        invalid: how its result breaks the contract.
        mutated: it altered its input.
        touched: files, sockets and processes it used.
        answer: its result, encoded, to be compared with another call's.
    """

    raised: str | None = None
    invalid: str | None = None
    mutated: bool = False
    touched: tuple[str, ...] = ()
    answer: bytes = b""


@dataclass
class _SideEffectMonitor:
    """Sees what goes on while it is active; an audit hook can't be removed."""

    active: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active or not (event in _FORBIDDEN or event.startswith(_FORBIDDEN_PREFIXES)):
            return
        if len(self.seen) < _SHOWN and not _importing():
            self.seen.append(f"{event} {args[0]!r}" if event == "open" else event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches for the duration of a block."""
        self.seen.clear()
        self.active = True
        try:
            yield
        finally:
            self.active = False


def main() -> None:
    """Answers a pickled (strategy, context) with a Report, until the parent goes."""
    channel = MessageChannel()
    watch = _SideEffectMonitor()
    sys.addaudithook(watch)
    while True:
        strategy, context = pickle.loads(channel.receive())  # noqa: S301  from the parent
        channel.send(msgspec.msgpack.encode(_try(strategy, context, watch)))


def _try(strategy: Strategy, context: AnalysisContext, watch: _SideEffectMonitor) -> CallReport:
    before = pickle.dumps(context)
    try:
        given = with_forecasts(strategy, context)
        with watch.watching():
            result = strategy.propose(given)
    except BaseException as error:  # foreign code may raise anything
        return CallReport(raised=describe(error), touched=tuple(watch.seen))
    mutated = pickle.dumps(context) != before
    try:
        answer, invalid = encode(checked(result, strategy, context)), None
    except ProposalError as error:
        answer, invalid = b"", str(error)
    return CallReport(invalid=invalid, mutated=mutated, touched=tuple(watch.seen), answer=answer)


def _importing() -> bool:
    """Returns whether the import machinery is at work: a lazy import reads files rightly."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
