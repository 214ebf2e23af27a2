"""What a user asked of a backtest, and the services that it selects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfopt.backtest import ScheduleRequest
    from perfopt.domain.enums import OptimizationType
    from perfopt.domain.workload import Workload
    from perfopt.evaluation.split import Split


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """Options of the command line, as written.

    Attributes:
        names: of services; empty is all.
        match, exclude: regular expressions that a service name must, or must not, contain.
        split: half of the services; None is all.
        begin, until, history, validity, origins: see the options.
        types: of recommendations; empty is all.
        policies, plugins: names; empty is all.
        every: stride of a closed loop, whose horizon is the validity; None is no closed loop.
    """

    names: tuple[str, ...]
    match: str | None
    exclude: str | None
    split: "Split | None"
    begin: str | None
    until: str | None
    history: str
    validity: str | None
    origins: str | None
    types: "tuple[OptimizationType, ...]"
    policies: tuple[str, ...]
    plugins: tuple[str, ...]
    every: str | None = None

    def schedule(self) -> "ScheduleRequest":
        """Returns when to recommend.

        Raises:
            InvalidInputError: a duration or an instant is malformed.
        """
        from perfopt.backtest import ScheduleRequest
        from perfopt.domain.period import parse_duration, parse_instant

        return ScheduleRequest(
            begin=parse_instant(self.begin, field="from") if self.begin else None,
            until=parse_instant(self.until, field="until") if self.until else None,
            history=parse_duration(self.history, field="history"),
            validity=parse_duration(self.validity, field="validity") if self.validity else None,
            origins=self.origins,
            every=parse_duration(self.every, field="every") if self.every else None,
        )

    def fitted(self) -> tuple[str, ...]:
        """Returns the policies named that are fitted to a fleet."""
        from perfopt.domain.enums import OptimizationType
        from perfopt.evaluation.baselines import FITTED

        sizes = OptimizationType.RESOURCE_OPTIMIZATION in self.types
        return tuple(name for name in FITTED if sizes and name in self.policies)

    def workloads(self, inventory: "Sequence[Workload]") -> "list[Workload]":
        """Returns the services that a user named, less those that a pattern leaves out.

        Raises:
            NotFoundError: no service of a name, or none is left.
        """
        from perfopt.domain.resolve import resolve_workload
        from perfopt.errors import NotFoundError
        from perfopt.evaluation.split import split_of

        inventory = tuple(inventory)
        named = [resolve_workload(name, inventory) for name in self.names] if self.names else list(inventory)
        keep, drop = _pattern("match", self.match), _pattern("exclude", self.exclude)
        chosen = [
            workload
            for workload in named
            if (keep is None or keep.search(workload.service_name))
            and (drop is None or not drop.search(workload.service_name))
            and self.split in (None, split_of(workload.service_name))
        ]
        if not chosen:
            raise NotFoundError(
                f"None of the {len(named)} services is left to backtest.",
                remedy="Check --match, --exclude and --split." if named else "The source knows no service.",
            )
        return chosen


def _pattern(option: str, text: str | None) -> "re.Pattern[str] | None":
    from perfopt.errors import InvalidInputError

    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidInputError(
            f"{text!r} is not a regular expression: {error}.", field=option, remedy="Correct it."
        ) from error


def check_writable(path: Path | None, option: str) -> None:
    """Refuses a file that can't be written before the work for it is done.

    Raises:
        InvalidInputError: its folder does not exist.
    """
    from perfopt.errors import InvalidInputError

    if path is not None and not path.absolute().parent.is_dir():
        raise InvalidInputError(
            f"There is no folder {path.absolute().parent}.",
            field=option,
            remedy="Make it, or name another file.",
        )


def write_text(path: Path, text: str, option: str) -> None:
    """Writes a file.

    Raises:
        InvalidInputError: it can't be written.
    """
    from perfopt.errors import InvalidInputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{path} can't be written: {error.strerror}.", field=option, remedy="Name another file."
        ) from error
