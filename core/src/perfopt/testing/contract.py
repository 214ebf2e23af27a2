"""The contract that every strategy keeps, as one function and as tests to inherit."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from perfopt.engine.child import ChildError, ChildOverMemoryError, ChildProcess, ChildTimedOutError
from perfopt.engine.strategies import strategy_problem
from perfopt.plugin.strategy import Strategy
from perfopt.testing.harness import Report
from perfopt.testing.imports import private_imports
from perfopt.testing.snapshots import cases, make_context

CHECKS = {
    "protocol": "has the attributes of a strategy, in the form they need, and can be pickled",
    "public_imports": "imports of perfopt only .plugin, .forecast, .capacity, .learn and .testing",
    "survives": "raises for no history, however odd",
    "deadline": "answers in time",
    "process": "leaves its process alive",
    "memory": "stays within its memory",
    "result": "returns a complete, possible Proposal of its type, or Declined, that msgspec can carry",
    "inputs": "leaves its input as it was",
    "deterministic": "answers the same to the same, whatever it was asked before",
    "no_io": "opens no file, socket or process",
}
DEADLINE_SECONDS = 10.0
MEMORY_LIMIT_MIB = 1024
_HARNESS = "perfopt.testing.harness:main"


@dataclass(frozen=True)
class Violation:
    """A broken promise.

    Attributes:
        check: which, a key of CHECKS.
        message: what was seen.
        case: on which history, where it is about one.
    """

    check: str
    message: str
    case: str | None = None

    def __str__(self) -> str:
        return f"{self.check}: {self.message}" + (f" (on the history {self.case!r})" if self.case else "")


def check_strategy(
    strategy: Any,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    memory_limit_mib: int = MEMORY_LIMIT_MIB,
) -> list[Violation]:
    """Tries a strategy on many histories in a process of its own and returns what it breaks.

    Args:
        strategy: an instance; it must come from a module that can be imported.
        deadline_seconds: for one call.
        memory_limit_mib: resident memory of the process.
    """
    problem = strategy_problem(strategy)
    if problem is not None:
        return [Violation("protocol", problem)]
    found = [Violation("public_imports", text) for text in private_imports(strategy)]
    return found + _tried(strategy, deadline_seconds, memory_limit_mib * 2**20)


def _tried(strategy: Strategy, deadline: float, memory: int) -> list[Violation]:
    """Runs all cases twice; the process is given up at the first that it does not survive."""
    child = ChildProcess(_HARNESS)
    answers: dict[str, bytes] = {}
    found: dict[Violation, None] = {}  # the second round sees most of them again
    name = ""
    try:
        for _ in range(2):
            for name, snapshot in cases().items():
                child.send(pickle.dumps((strategy, make_context(snapshot))))
                report = msgspec.msgpack.decode(child.receive(deadline, memory), type=Report)
                found |= dict.fromkeys(_seen(report, name))
                if answers.setdefault(name, report.answer) != report.answer:
                    found[Violation("deterministic", "it gave two answers to one question", name)] = None
    except ChildError as error:
        found[Violation(_check_of(error), f"it {error}", name)] = None
    finally:
        child.kill()
    return list(found)


def _check_of(error: ChildError) -> str:
    if isinstance(error, ChildTimedOutError):
        return "deadline"
    return "memory" if isinstance(error, ChildOverMemoryError) else "process"


def _seen(report: Report, case: str) -> Iterator[Violation]:
    if report.raised is not None:
        yield Violation("survives", f"it {report.raised}", case)
    if report.invalid is not None:
        yield Violation("result", f"it {report.invalid}", case)
    if report.mutated:
        yield Violation("inputs", "it altered its input", case)
    if report.touched:
        yield Violation("no_io", f"it used {', '.join(report.touched)}", case)


@lru_cache(maxsize=32)
def _checked_once(pickled: bytes) -> Sequence[Violation]:
    return check_strategy(pickle.loads(pickled))  # noqa: S301  pickled by this module a moment ago


class StrategyContract:
    """Tests to inherit: give them a fixture `strategy` that returns an instance."""

    def test_keeps_the_protocol(self, strategy: Strategy) -> None:
        """Its attributes are right and it can be pickled."""
        problem = strategy_problem(strategy)
        assert problem is None, problem

    def test_imports_public_modules_only(self, strategy: Strategy) -> None:
        """It leans on nothing that may move."""
        self._holds(strategy, "public_imports")

    def test_survives_every_history(self, strategy: Strategy) -> None:
        """No history makes it raise."""
        self._holds(strategy, "survives")

    def test_answers_in_time_and_stays_alive(self, strategy: Strategy) -> None:
        """It neither hangs nor takes its process down."""
        self._holds(strategy, "deadline", "process", "memory")

    def test_results_are_complete_and_possible(self, strategy: Strategy) -> None:
        """What it returns can be carried and applied."""
        self._holds(strategy, "result")

    def test_leaves_its_input_alone(self, strategy: Strategy) -> None:
        """The next strategy sees what this one saw."""
        self._holds(strategy, "inputs")

    def test_is_deterministic(self, strategy: Strategy) -> None:
        """The same question has the same answer."""
        self._holds(strategy, "deterministic")

    def test_uses_no_files_or_sockets(self, strategy: Strategy) -> None:
        """All it knows is its context."""
        self._holds(strategy, "no_io")

    def _holds(self, strategy: Strategy, *checks: str) -> None:
        broken = [str(found) for found in _checked_once(pickle.dumps(strategy)) if found.check in checks]
        assert not broken, "\n".join(broken)
