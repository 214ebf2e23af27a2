from dataclasses import dataclass, field, replace

import msgspec
import pytest

from perfopt.engine.brought import ContributionError
from perfopt.engine.kinds import check_kinds, kind_problem


class Options(msgspec.Struct):
    rounds: int = 3


class Needy(msgspec.Struct):
    rounds: int


@dataclass(frozen=True)
class Training:
    metrics: frozenset[str] = frozenset({"cpu_cores"})
    modules: tuple[str, ...] = ()
    options: type | None = Options

    def examples(self, snapshot):
        return []

    def train(self, examples, request):
        raise NotImplementedError


@dataclass(frozen=True)
class Kind:
    kind: str = "load"
    description: str = "load of a service"
    trainer: object = field(default_factory=Training)

    def load(self, content):
        return content

    def check(self, content):
        return {}


def test_kinds_are_given_back_by_name():
    assert [one.kind for one in check_kinds([Kind(), Kind("flow")])] == ["flow", "load"]
    assert kind_problem(Kind(trainer=None)) is None
    assert kind_problem(Kind(trainer=Training(options=None))) is None


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (3, "lacks kind, description"),
        (Kind("Load!"), "not of the form"),
        (Kind(description=None), "description that is text"),
        (Kind(trainer=3), "lacks metrics"),
        (Kind(trainer=Training(frozenset({"happiness"}))), "does not have: happiness"),
        (Kind(trainer=Training(options=Needy)), "training options"),
    ],
)
def test_what_is_no_kind_is_named(kind, problem):
    with pytest.raises(ContributionError, match=problem):
        check_kinds([kind])


def test_two_kinds_of_one_name_are_refused():
    with pytest.raises(ContributionError, match="two kinds of models named 'load'"):
        check_kinds([Kind(), replace(Kind(), description="another")])
