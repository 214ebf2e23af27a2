"""Faults on demand: what goes wrong between a client and the API server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from perfopt_api.simulated.kubernetes.http import Request

Kind = Literal["drop", "drop_after", "status", "slow", "cut_watch"]


@dataclass
class Fault:
    """One fault, for the next `times` requests that it is about.

    Attributes:
        kind: drop (the connection closes before the request is handled), drop_after (it is handled, and its
            answer is lost), status (an error in place of an answer), slow (the answer waits), cut_watch (the
            connection of a watch closes).
        about: which requests.
        times: how often it happens still.
        status: of the answer, such as 429 or 500.
        retry_after: seconds for a Retry-After header; None is no header.
        seconds: that a slow answer waits, or a watch lasts.
    """

    kind: Kind
    about: Callable[[Request], bool] = lambda _: True
    times: int = 1
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0.0


@dataclass
class Faults:
    """The faults that are still to come, in order."""

    pending: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Adds a fault."""
        self.pending.append(fault)

    def next(self, request: Request, *, watch: bool) -> Fault | None:
        """Takes the fault that a request runs into; None where there is none."""
        for fault in self.pending:
            if (fault.kind == "cut_watch") == watch and fault.about(request):
                fault.times -= 1
                if fault.times <= 0:
                    self.pending.remove(fault)
                return fault
        return None
