"""The contract of strategies, as functions and as tests to inherit."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from perfopt.config.describe import describe, settings_problem
from perfopt.engine.child import ChildError, ChildOverMemoryError, ChildProcess, ChildTimedOutError
from perfopt.engine.strategies import strategy_problem
from perfopt.plugin.strategy import Strategy
from perfopt.testing.harness import CallReport
from perfopt.testing.imports import PUBLIC, private_imports
from perfopt.testing.snapshots import cases, make_context

CHECKS = {
    "protocol": "has the attributes of a strategy, in the form they need, and can be pickled",
    "public_imports": "imports of perfopt only " + ", ".join(f".{name.partition('.')[2]}" for name in PUBLIC),
    "survives": "raises no exception, whatever the history: empty, short, with gaps, NaN, constant, ...",
    "deadline": "returns within the deadline",
    "process": "does not end its process",
    "memory": "stays within the memory limit",
    "result": "returns a complete, possible Proposal of its type, or Declined, that msgspec can encode",
    "inputs": "does not alter its input",
    "deterministic": "returns the same for the same input, whatever was run before",
    "no_io": "opens no file, socket or process",
}
SETTINGS_CHECK = "settings"
DEADLINE_SECONDS = 10.0
MEMORY_LIMIT_MIB = 1024
_HARNESS = "perfopt.testing.harness:main"
_ON_ALL_HISTORIES = ("survives", "result", "inputs", "deterministic", "no_io")
# What is not known of a strategy that lacks a property: its process ends, or nothing is run.
_UNKNOWN_AFTER = {
    "protocol": tuple(check for check in CHECKS if check != "protocol"),
    "deadline": (*_ON_ALL_HISTORIES, "process", "memory"),
    "process": (*_ON_ALL_HISTORIES, "deadline", "memory"),
    "memory": (*_ON_ALL_HISTORIES, "deadline", "process"),
}


@dataclass(frozen=True)
class ContractViolation:
    """A property that a strategy lacks.

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


@dataclass(frozen=True)
class CheckResult:
    """Whether a strategy has one property.

    Attributes:
        check: a key of CHECKS.
        passed: None where it could not be found out, since the strategy or its process failed before.
        violations: what was seen where it did not pass.
    """

    check: str
    passed: bool | None
    violations: tuple[ContractViolation, ...] = ()


def check_results(
    strategy: Any,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    memory_limit_mib: int = MEMORY_LIMIT_MIB,
) -> tuple[CheckResult, ...]:
    """Runs the contract suite and returns one result a property, in the order of CHECKS.

    Args:
        strategy: as for `check_strategy`.
        deadline_seconds: for one call.
        memory_limit_mib: resident memory of the process.
    """
    violations = check_strategy(
        strategy, deadline_seconds=deadline_seconds, memory_limit_mib=memory_limit_mib
    )
    failed = {violation.check for violation in violations}
    unknown = set().union(*(_UNKNOWN_AFTER.get(check, ()) for check in failed)) - failed
    return tuple(
        CheckResult(
            check,
            None if check in unknown else check not in failed,
            tuple(violation for violation in violations if violation.check == check),
        )
        for check in CHECKS
    )


def check_strategy(
    strategy: Any,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    memory_limit_mib: int = MEMORY_LIMIT_MIB,
) -> list[ContractViolation]:
    """Runs a strategy on many histories in a process of its own and returns the properties it lacks.

    Args:
        strategy: an instance; it must come from a module that can be imported.
        deadline_seconds: for one call.
        memory_limit_mib: resident memory of the process.
    """
    problem = strategy_problem(strategy)
    if problem is not None:
        return [ContractViolation("protocol", problem)]
    violations = [ContractViolation("public_imports", text) for text in private_imports(strategy)]
    return violations + _tried(strategy, deadline_seconds, memory_limit_mib * 2**20)


def check_settings(settings: Any) -> list[ContractViolation]:
    """Returns what is wrong with the type that a plugin's hook `perfopt_settings` returns.

    Args:
        settings: the type: a frozen msgspec struct in which every field has a default and a description.
    """
    problem = settings_problem(settings)
    if problem is not None:
        return [ContractViolation(SETTINGS_CHECK, problem)]
    violations = []
    for one in describe(settings):
        if not one.description:
            text = f"{one.name} has no description; give it one below 'Attributes:' in the docstring."
            violations.append(ContractViolation(SETTINGS_CHECK, text))
    return violations


def _tried(strategy: Strategy, deadline: float, memory: int) -> list[ContractViolation]:
    """Runs all cases twice; the process is given up at the first that it does not survive."""
    child = ChildProcess(_HARNESS)
    answers: dict[str, bytes] = {}
    violations: dict[ContractViolation, None] = {}  # the second round sees most of them again
    name = ""
    try:
        for _ in range(2):
            for name, snapshot in cases().items():
                child.send(pickle.dumps((strategy, make_context(snapshot))))
                report = msgspec.msgpack.decode(child.receive(deadline, memory), type=CallReport)
                violations |= dict.fromkeys(_seen(report, name))
                if answers.setdefault(name, report.answer) != report.answer:
                    violations[
                        ContractViolation("deterministic", "it gave two results for the same input", name)
                    ] = None
    except ChildError as error:
        violations[ContractViolation(_check_of(error), f"it {error}", name)] = None
    finally:
        child.kill()
    return list(violations)


def _check_of(error: ChildError) -> str:
    if isinstance(error, ChildTimedOutError):
        return "deadline"
    return "memory" if isinstance(error, ChildOverMemoryError) else "process"


def _seen(report: CallReport, case: str) -> Iterator[ContractViolation]:
    if report.raised is not None:
        yield ContractViolation("survives", f"it {report.raised}", case)
    if report.invalid is not None:
        yield ContractViolation("result", f"it {report.invalid}", case)
    if report.mutated:
        yield ContractViolation("inputs", "it altered its input", case)
    if report.touched:
        yield ContractViolation("no_io", f"it used {', '.join(report.touched)}", case)


@lru_cache(maxsize=32)
def _checked_once(pickled: bytes) -> Sequence[ContractViolation]:
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
        violations = _checked_once(pickle.dumps(strategy))
        broken = [str(violation) for violation in violations if violation.check in checks]
        assert not broken, "\n".join(broken)


class SettingsContract:
    """A test to inherit: give it a fixture `settings` that returns the type of a plugin's settings."""

    def test_settings_have_defaults_and_descriptions(self, settings: type[msgspec.Struct]) -> None:
        """A user can set and look up every one of them, and need not."""
        violations = [str(violation) for violation in check_settings(settings)]
        assert not violations, "\n".join(violations)
