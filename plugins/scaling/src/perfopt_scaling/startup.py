"""How long a replica takes to be ready: as stated, as its pods took, or as assumed."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np

from perfopt.plugin import PodStart, Reason, ServiceClass, Workload, WorkloadSnapshot

ANNOTATION = "perfopt.io/startup-seconds"
ASSUMED_SECONDS = 120
FEW = 20
"""Starts of which the longest counts: a high quantile of fewer is a guess at it."""

LEVELS = {ServiceClass.CRITICAL: 0.99, ServiceClass.STANDARD: 0.95, ServiceClass.BATCH: 0.90}


@dataclass(frozen=True, slots=True)
class StartupTime:
    """The time from the decision to a ready replica.

    Attributes:
        seconds: whole, at least 1.
        basis: where it comes from.
        starts: of pods it was learnt from.
        level: the quantile of them that is taken; None is the longest.
    """

    seconds: int
    basis: Literal["stated", "learnt", "assumed"]
    starts: int = 0
    level: float | None = None

    @property
    def time(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.seconds)

    def reason(self) -> Reason:
        """Returns how long it is and how that is known."""
        data = {"startup_seconds": self.seconds, "basis": self.basis, "starts": self.starts}
        return Reason(code="startup", text=self._described(), data=data)

    def _described(self) -> str:
        if self.basis == "stated":
            return f"A replica is ready after {self.seconds} s, as the annotation {ANNOTATION} states."
        if self.basis == "assumed":
            return (
                f"A replica is taken to be ready after {self.seconds} s: no start of its pods was seen, and"
                f" {ANNOTATION} does not state it."
            )
        if self.starts == 1:
            return f"A replica is ready after {self.seconds} s, which the only start seen of its pods took."
        part = "the longest" if self.level is None else f"{self.level:.0%}"
        verb = "took" if self.level is None else "took at most"
        return (
            f"A replica is ready after {self.seconds} s, which {part} of {self.starts} starts of its pods"
            f" {verb}, from their creation on."
        )


def startup(snapshot: WorkloadSnapshot) -> StartupTime:
    """Returns the start-up time that the workload states, else what its pods took, else 120 s."""
    stated = _stated(snapshot.workload)
    if stated is not None:
        return StartupTime(stated, "stated")
    if snapshot.starts:
        return _learnt(snapshot.starts, LEVELS[snapshot.workload.service_class])
    return StartupTime(ASSUMED_SECONDS, "assumed")


def _stated(workload: Workload) -> int | None:
    """Returns the seconds of the workload's annotation, if it is a number of 1 to 3600."""
    text = workload.annotations.get(ANNOTATION, "")
    return int(text) if text.isascii() and text.isdigit() and 1 <= int(text) <= 3600 else None


def _learnt(starts: tuple[PodStart, ...], level: float) -> StartupTime:
    seconds = [start.seconds for start in starts]
    few = len(seconds) < FEW
    taken = max(seconds) if few else float(np.quantile(seconds, level, method="higher"))
    return StartupTime(max(math.ceil(taken), 1), "learnt", len(seconds), None if few else level)
