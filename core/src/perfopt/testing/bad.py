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


class RaisingStrategy(PeakStrategy):
    """Raises."""

    name = "raises"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        raise ValueError("I can't do this")


class EmptyHistoryRaisingStrategy(PeakStrategy):
    """Takes it for granted that there is a history."""

    name = "raises-on-empty"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        for metrics in context.snapshot.containers.values():
            for series in metrics.values():
                series.values[0, -1]
        return super().propose(context)


class HangingStrategy(PeakStrategy):
    """Never comes back."""

    name = "hangs"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        threading.Event().wait()
        return super().propose(context)


class SpinningStrategy(PeakStrategy):
    """Never comes back and keeps the CPU busy."""

    name = "spins"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        sum(1 for _ in itertools.repeat(None))
        return super().propose(context)


class ExitingStrategy(PeakStrategy):
    """Ends its process without a word."""

    name = "exits"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        os._exit(3)


class SystemExitStrategy(PeakStrategy):
    """Calls sys.exit, as a script would."""

    name = "system-exit"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        sys.exit("bye")


class SegfaultingStrategy(PeakStrategy):
    """Reads an address that is not there, as a faulty native library would."""

    name = "segfaults"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        ctypes.string_at(0)
        return super().propose(context)


class MemoryLeakingStrategy(PeakStrategy):
    """Takes memory and never stops."""

    name = "eats-memory"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        leaked = [bytearray(b"x" * 2**20) for _ in itertools.repeat(None)]
        raise MemoryError(len(leaked))


class InputMutatingStrategy(PeakStrategy):
    """Cleans its input in place."""

    name = "mutates"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        for metrics in context.snapshot.containers.values():
            for series in metrics.values():
                series.values[:] = 0.0
        return super().propose(context)


class RandomStrategy(PeakStrategy):
    """Says something else each time."""

    name = "random"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        proposal = super().propose(context)
        if isinstance(proposal, Declined):
            return proposal
        return msgspec.structs.replace(proposal, description=f"{random.random()}")  # noqa: S311


class StatefulStrategy(PeakStrategy):
    """Answers by what it was asked before."""

    name = "remembers"
    seen: ClassVar[list[str]] = []

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        self.seen.append("")
        proposal = super().propose(context)
        if isinstance(proposal, Declined):
            return proposal
        return msgspec.structs.replace(proposal, description=f"call {len(self.seen)}")


class WrongTypeStrategy(PeakStrategy):
    """Proposes a type that is not its own."""

    name = "wrong-type"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return msgspec.structs.replace(
            super().propose(context), optimization_type=OptimizationType.COST_OPTIMIZATION
        )


class NoneReturningStrategy(PeakStrategy):
    """Says nothing where it has nothing to say."""

    name = "returns-none"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return None  # type: ignore[return-value]  # that is what is bad about it


class SocketOpeningStrategy(PeakStrategy):
    """Opens a socket."""

    name = "connects"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        with socket.socket() as connection:
            connection.settimeout(0.1)
        return super().propose(context)


class FileOpeningStrategy(PeakStrategy):
    """Opens a file."""

    name = "writes"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        with open(os.devnull, "w") as file:
            file.write("seen")
        return super().propose(context)


class UnencodableProposalStrategy(PeakStrategy):
    """Puts an object into its result that nothing can carry."""

    name = "unencodable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        proposal = super().propose(context)
        return (
            proposal
            if isinstance(proposal, Declined)
            else msgspec.structs.replace(proposal, data={"lock": object()})
        )


class IncompleteTargetStrategy(PeakStrategy):
    """Leaves a container out of its target."""

    name = "incomplete"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        return self.proposal(context, context.snapshot.workload.state.containers[1:])


class NaNRequestStrategy(PeakStrategy):
    """Recommends NaN cores."""

    name = "not-a-number"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        containers = context.snapshot.workload.state.containers
        return self.proposal(
            context, tuple(msgspec.structs.replace(c, cpu_request_cores=float("nan")) for c in containers)
        )


class NegativeRequestStrategy(PeakStrategy):
    """Recommends less than nothing."""

    name = "negative"
    margin = -1.0


class RequestAboveLimitStrategy(PeakStrategy):
    """Requests more than it allows."""

    name = "above-limit"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        containers = context.snapshot.workload.state.containers
        return self.proposal(
            context,
            tuple(msgspec.structs.replace(c, cpu_request_cores=3.0, cpu_limit_cores=2.0) for c in containers),
        )


class LongDescriptionStrategy(PeakStrategy):
    """Gives a description that no event could carry."""

    name = "talks-too-much"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        proposal = super().propose(context)
        return (
            proposal
            if isinstance(proposal, Declined)
            else msgspec.structs.replace(proposal, description="x" * 2**20)
        )


class UnstorableTextStrategy(PeakStrategy):
    """Gives a description that PostgreSQL refuses."""

    name = "unstorable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        proposal = super().propose(context)
        return (
            proposal
            if isinstance(proposal, Declined)
            else msgspec.structs.replace(proposal, description="a\0b")
        )


class UnstorableErrorStrategy(PeakStrategy):
    """Raises with a message that neither PostgreSQL nor UTF-8 can hold."""

    name = "raises-unstorable"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        raise ValueError("\0 and \ud800")


class UnpicklableStrategy(PeakStrategy):
    """Holds something that can't leave its process."""

    name = "unpicklable"

    def __init__(self) -> None:
        self.lock = threading.Lock()


class InvalidNameStrategy(PeakStrategy):
    """Has a name that no setting or label could hold."""

    name = "Bad Name!"


class UnknownMetricStrategy(PeakStrategy):
    """Reads a metric that nobody measures."""

    name = "unknown-metric"
    metrics: Sequence[str] = ("cpu_cores", "happiness")


RAISES = ExamplePlugin(RaisingStrategy())
HANGS = ExamplePlugin(HangingStrategy())
SPINS = ExamplePlugin(SpinningStrategy())
EXITS = ExamplePlugin(ExitingStrategy())
SYSTEM_EXIT = ExamplePlugin(SystemExitStrategy())
SEGFAULTS = ExamplePlugin(SegfaultingStrategy())
EATS_MEMORY = ExamplePlugin(MemoryLeakingStrategy())
MUTATES = ExamplePlugin(InputMutatingStrategy())
WRONG_TYPE = ExamplePlugin(WrongTypeStrategy())
RETURNS_NONE = ExamplePlugin(NoneReturningStrategy())
UNENCODABLE = ExamplePlugin(UnencodableProposalStrategy())
INCOMPLETE = ExamplePlugin(IncompleteTargetStrategy())
NOT_A_NUMBER = ExamplePlugin(NaNRequestStrategy())
ABOVE_LIMIT = ExamplePlugin(RequestAboveLimitStrategy())
TALKS_TOO_MUCH = ExamplePlugin(LongDescriptionStrategy())
UNSTORABLE = ExamplePlugin(UnstorableTextStrategy())
RAISES_UNSTORABLE = ExamplePlugin(UnstorableErrorStrategy())
UNPICKLABLE = ExamplePlugin(UnpicklableStrategy())
BAD_NAME = ExamplePlugin(InvalidNameStrategy())
UNKNOWN_METRIC = ExamplePlugin(UnknownMetricStrategy())
