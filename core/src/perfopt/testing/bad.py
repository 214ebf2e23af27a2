"""Strategies that break the contract, one way each. The contract suite must fail every one of them."""

import ctypes
import itertools
import os
import random
import socket
import sys
import threading
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from perfopt.plugin import AnalysisContext, Declined, OptimizationType, Proposal
from perfopt.testing.examples import ExamplePlugin, PeakStrategy


class Raises(PeakStrategy):
    """Raises."""

    name = "raises"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        raise ValueError("I can't do this")


class RaisesOnEmpty(PeakStrategy):
    """Takes it for granted that there is a history."""

    name = "raises-on-empty"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        for metrics in context.snapshot.containers.values():
            for series in metrics.values():
                series.values[0, -1]
        return super().propose(context)


class Hangs(PeakStrategy):
    """Never comes back."""

    name = "hangs"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        threading.Event().wait()
        return super().propose(context)


class Spins(PeakStrategy):
    """Never comes back and keeps the CPU busy."""

    name = "spins"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        sum(1 for _ in itertools.repeat(None))
        return super().propose(context)


class Exits(PeakStrategy):
    """Ends its process without a word."""

    name = "exits"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        os._exit(3)


class RaisesSystemExit(PeakStrategy):
    """Calls sys.exit, as a script would."""

    name = "system-exit"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        sys.exit("bye")


class Segfaults(PeakStrategy):
    """Reads an address that is not there, as a faulty native library would."""

    name = "segfaults"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        ctypes.string_at(0)
        return super().propose(context)


class EatsMemory(PeakStrategy):
    """Takes memory and never stops."""

    name = "eats-memory"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        kept = [bytearray(b"x" * 2**20) for _ in itertools.repeat(None)]
        raise MemoryError(len(kept))


class Mutates(PeakStrategy):
    """Cleans its input in place."""

    name = "mutates"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        for metrics in context.snapshot.containers.values():
            for series in metrics.values():
                series.values[:] = 0.0
        return super().propose(context)


class Random(PeakStrategy):
    """Says something else each time."""

    name = "random"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        made = super().propose(context)
        if isinstance(made, Declined):
            return made
        return msgspec.structs.replace(made, description=f"{random.random()}")  # noqa: S311


class Remembers(PeakStrategy):
    """Answers by what it was asked before."""

    name = "remembers"
    seen: ClassVar[list[str]] = []

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        self.seen.append("")
        made = super().propose(context)
        if isinstance(made, Declined):
            return made
        return msgspec.structs.replace(made, description=f"call {len(self.seen)}")


class WrongType(PeakStrategy):
    """Proposes a type that is not its own."""

    name = "wrong-type"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return msgspec.structs.replace(
            super().propose(context), optimization_type=OptimizationType.COST_OPTIMIZATION
        )


class ReturnsNone(PeakStrategy):
    """Says nothing where it has nothing to say."""

    name = "returns-none"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return None  # type: ignore[return-value]  # that is what is bad about it


class Connects(PeakStrategy):
    """Opens a socket."""

    name = "connects"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        with socket.socket() as connection:
            connection.settimeout(0.1)
        return super().propose(context)


class Writes(PeakStrategy):
    """Opens a file."""

    name = "writes"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        with open(os.devnull, "w") as file:
            file.write("seen")
        return super().propose(context)


class Unencodable(PeakStrategy):
    """Puts an object into its result that nothing can carry."""

    name = "unencodable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        made = super().propose(context)
        return made if isinstance(made, Declined) else msgspec.structs.replace(made, data={"lock": object()})


class Incomplete(PeakStrategy):
    """Leaves a container out of its target."""

    name = "incomplete"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return self.proposal(context, context.snapshot.workload.state.containers[1:])


class NotANumber(PeakStrategy):
    """Recommends NaN cores."""

    name = "not-a-number"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        containers = context.snapshot.workload.state.containers
        return self.proposal(
            context, tuple(msgspec.structs.replace(c, cpu_request_cores=float("nan")) for c in containers)
        )


class Negative(PeakStrategy):
    """Recommends less than nothing."""

    name = "negative"
    margin = -1.0


class AboveLimit(PeakStrategy):
    """Requests more than it allows."""

    name = "above-limit"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        containers = context.snapshot.workload.state.containers
        return self.proposal(
            context,
            tuple(msgspec.structs.replace(c, cpu_request_cores=3.0, cpu_limit_cores=2.0) for c in containers),
        )


class TalksTooMuch(PeakStrategy):
    """Gives a description that no event could carry."""

    name = "talks-too-much"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        made = super().propose(context)
        return made if isinstance(made, Declined) else msgspec.structs.replace(made, description="x" * 2**20)


class Unstorable(PeakStrategy):
    """Gives a description that PostgreSQL refuses."""

    name = "unstorable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        made = super().propose(context)
        return made if isinstance(made, Declined) else msgspec.structs.replace(made, description="a\0b")


class RaisesUnstorable(PeakStrategy):
    """Raises with a message that neither PostgreSQL nor UTF-8 can hold."""

    name = "raises-unstorable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        raise ValueError("\0 and \ud800")


class Unpicklable(PeakStrategy):
    """Holds something that can't leave its process."""

    name = "unpicklable"

    def __init__(self) -> None:
        self.lock = threading.Lock()


class BadName(PeakStrategy):
    """Has a name that no setting or label could hold."""

    name = "Bad Name!"


class UnknownMetric(PeakStrategy):
    """Reads a metric that nobody measures."""

    name = "unknown-metric"
    metrics: Sequence[str] = ("cpu_cores", "happiness")


RAISES = ExamplePlugin(Raises())
HANGS = ExamplePlugin(Hangs())
SPINS = ExamplePlugin(Spins())
EXITS = ExamplePlugin(Exits())
SYSTEM_EXIT = ExamplePlugin(RaisesSystemExit())
SEGFAULTS = ExamplePlugin(Segfaults())
EATS_MEMORY = ExamplePlugin(EatsMemory())
MUTATES = ExamplePlugin(Mutates())
WRONG_TYPE = ExamplePlugin(WrongType())
RETURNS_NONE = ExamplePlugin(ReturnsNone())
UNENCODABLE = ExamplePlugin(Unencodable())
INCOMPLETE = ExamplePlugin(Incomplete())
NOT_A_NUMBER = ExamplePlugin(NotANumber())
ABOVE_LIMIT = ExamplePlugin(AboveLimit())
TALKS_TOO_MUCH = ExamplePlugin(TalksTooMuch())
UNSTORABLE = ExamplePlugin(Unstorable())
RAISES_UNSTORABLE = ExamplePlugin(RaisesUnstorable())
UNPICKLABLE = ExamplePlugin(Unpicklable())
BAD_NAME = ExamplePlugin(BadName())
UNKNOWN_METRIC = ExamplePlugin(UnknownMetric())
