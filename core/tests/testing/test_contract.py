import inspect

import msgspec
import pytest

from perfopt.testing import (
    CHECKS,
    SettingsContract,
    StrategyContract,
    bad,
    bad_imports,
    check_settings,
    check_strategy,
)
from perfopt.testing.examples import PeakStrategy

BROKEN = {
    bad.RaisingStrategy: "survives",
    bad.EmptyHistoryRaisingStrategy: "survives",
    bad.SystemExitStrategy: "survives",
    bad.HangingStrategy: "deadline",
    bad.SpinningStrategy: "deadline",
    bad.ExitingStrategy: "process",
    bad.SegfaultingStrategy: "process",
    bad.MemoryLeakingStrategy: "memory",
    bad.InputMutatingStrategy: "inputs",
    bad.RandomStrategy: "deterministic",
    bad.StatefulStrategy: "deterministic",
    bad.WrongTypeStrategy: "result",
    bad.NoneReturningStrategy: "result",
    bad.UnencodableProposalStrategy: "result",
    bad.IncompleteTargetStrategy: "result",
    bad.NaNRequestStrategy: "result",
    bad.NegativeRequestStrategy: "result",
    bad.RequestAboveLimitStrategy: "result",
    bad.LongDescriptionStrategy: "result",
    bad.UnstorableTextStrategy: "result",
    bad.UnstorableErrorStrategy: "survives",
    bad.SocketOpeningStrategy: "no_io",
    bad.FileOpeningStrategy: "no_io",
    bad.UnpicklableStrategy: "protocol",
    bad.InvalidNameStrategy: "protocol",
    bad.UnknownMetricStrategy: "protocol",
    bad_imports.ImportsPrivate: "public_imports",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_bad_strategy_is_told_what_it_breaks(kind):
    slow = kind in (bad.HangingStrategy, bad.SpinningStrategy)
    violations = check_strategy(kind(), deadline_seconds=1 if slow else 20, memory_limit_mib=300)
    assert {violation.check for violation in violations} == {BROKEN[kind]}, violations


def test_every_check_fails_some_bad_strategy_and_every_bad_strategy_is_tried():
    assert set(BROKEN.values()) == set(CHECKS)
    declared = {
        kind for _, kind in inspect.getmembers(bad, inspect.isclass) if kind.__module__ == bad.__name__
    }
    assert declared <= set(BROKEN)


def test_a_violation_says_what_was_seen_and_on_which_history():
    (first, *_) = check_strategy(bad.EmptyHistoryRaisingStrategy())
    assert str(first).startswith("survives: it raised IndexError")
    assert "(on the history 'empty')" in str(first)


class TestTheExampleKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return PeakStrategy()


def test_the_inherited_tests_fail_a_bad_strategy():
    suite = StrategyContract()
    with pytest.raises(AssertionError, match="ended its process by signal 11"):
        suite.test_answers_in_time_and_stays_alive(bad.SegfaultingStrategy())
    with pytest.raises(AssertionError, match="can't be pickled"):
        suite.test_keeps_the_protocol(bad.UnpicklableStrategy())


class Described(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        size, width: how large.
        depth: how deep,
            over two lines.
    """

    size: int = 1
    width: int = 2
    depth: int = 3


class TestDescribedSettingsKeepTheContract(SettingsContract):
    @pytest.fixture
    def settings(self):
        return Described


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (dict, "it returns a class derived from msgspec.Struct"),
        (msgspec.defstruct("S", [("size", int, 1)]), "The settings S can be altered"),
        (msgspec.defstruct("S", [("size", int)], frozen=True), "no default for size"),
        (msgspec.defstruct("S", [("size", int, 1)], frozen=True), "size has no description"),
        (
            msgspec.defstruct("S", [("size", complex, 1)], frozen=True),
            "a type that can't be read from a file",
        ),
    ],
)
def test_unfit_settings_are_told_what_they_lack(settings, problem):
    (violation,) = check_settings(settings)
    assert violation.check == "settings"
    assert problem in violation.message
    with pytest.raises(AssertionError, match="settings: "):
        SettingsContract().test_settings_have_defaults_and_descriptions(settings)
