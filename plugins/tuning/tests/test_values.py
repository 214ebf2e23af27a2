"""Values of knobs: where they are read, what is allowed, how they are printed."""

import math

import pytest

from perfopt.plugin import Container
from perfopt_tuning.knobs.read import read_catalogue
from perfopt_tuning.knobs.values import (
    CurrentValue,
    UnreadableValue,
    allowed,
    parse_size,
    plain,
    read_current,
    shown,
)

CATALOGUE = """\
runtimes:
  app: {title: App, env: [POOL]}
knobs:
  pool: {kind: number, unit: connections, minimum: 1, maximum: 50, set: {env: POOL},
    default: 2 * cpu_limit_cores, read: [{argument: '--pool=(\\S+)'}, {env: [POOL, OLD_POOL]}]}
  workers: {unit: workers, minimum: 2, maximum: 9, set: {env: WORKERS}, read: [{env: WORKERS}]}
  heap: {unit: MiB, minimum: 16, maximum: 4000, set: {env: OPTS},
    read: [{env: OPTS, pattern: '-heap (\\S+)', value: it / MiB}]}
  mode: {kind: text, choices: [Fast, Safe], set: {env: MODE}, read: [{env: MODE}]}
  threads: {unit: threads, minimum: 1, maximum: 64, set: {by_hand: Set it.},
    read: [{expression: last(thread_pool_max)}]}
"""
_EVERY = "title: Title, runtime: app, formula: current, because: Because., source: Source, safety: Safe."
KNOBS = read_catalogue(
    CATALOGUE.replace("formula: current", "")
    .replace("{kind", f"{{{_EVERY}, kind")
    .replace("{unit", f"{{{_EVERY}, unit"),
    "knobs.yaml",
).knobs


class Facts:
    """Facts of a container as formulas read them."""

    def __init__(self, **facts):
        self.facts = facts

    def fact(self, name):
        return self.facts.get(name)

    def measured(self, function, metric):
        return self.facts.get(f"{function}({metric})")


def read(name, *, annotations=None, facts=None, **container):
    container = {"env": {}, "args": ()} | container
    return read_current(
        KNOBS[name], Container(name="main", **container), annotations or {}, Facts(**facts or {})
    )


def test_the_annotation_comes_before_what_is_set():
    stated = {"perfopt.io/knob.pool": "7"}
    assert read("pool", annotations=stated, env={"POOL": "5"}) == CurrentValue(7.0, "by annotation")


@pytest.mark.parametrize("text", ["seven", "inf", "nan", ""])
def test_an_annotation_without_a_value_is_named(text):
    current = read("pool", annotations={"perfopt.io/knob.pool": text}, env={"POOL": "5"})
    assert current == UnreadableValue(
        f"the annotation perfopt.io/knob.pool is {text!r}, which is no value of it"
    )


def test_places_are_read_in_their_order():
    assert read("pool", env={"POOL": "5"}, args=("app", "--pool=6")) == CurrentValue(
        6.0, "on the command line"
    )
    assert read("pool", env={"OLD_POOL": "4", "POOL": "5"}) == CurrentValue(5.0, "in POOL")
    assert read("pool", env={"OLD_POOL": "4"}) == CurrentValue(4.0, "in OLD_POOL")


def test_a_place_that_holds_no_number_is_passed_over():
    assert read("pool", env={"POOL": "5"}, args=("--pool=many",)) == CurrentValue(5.0, "in POOL")
    assert read("workers", env={"WORKERS": "auto"}) == CurrentValue(None, "not set")


def test_a_size_is_turned_into_the_unit_of_the_knob():
    assert read("heap", env={"OPTS": "-x -heap 2g -y"}) == CurrentValue(2048.0, "in OPTS")
    assert read("heap", env={"OPTS": "-heap large"}) == CurrentValue(None, "not set")
    assert read("heap", env={"OPTS": "-x"}) == CurrentValue(None, "not set")


def test_a_word_is_read_in_any_case_and_printed_in_its_own():
    assert read("mode", env={"MODE": " FAST "}) == CurrentValue("Fast", "in MODE")
    assert read("mode", env={"MODE": "faster"}) == CurrentValue(None, "not set")


def test_what_is_measured_is_the_current_value():
    assert read("threads", facts={"last(thread_pool_max)": 12.0}) == CurrentValue(12.0, "as measured")
    assert read("threads") == UnreadableValue("what it is set to was not measured")


def test_the_default_counts_where_nothing_is_set_and_its_facts_are_known():
    assert read("pool", facts={"cpu_limit_cores": 1.5}) == CurrentValue(3.0, "by default")
    assert read("pool") == CurrentValue(None, "not set")


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("workers", {"env": None}),
        ("pool", {"env": {}, "args": None, "command": None}),
        ("pool", {"env": None, "args": ("app",)}),
    ],
)
def test_a_value_that_may_stand_where_nothing_was_seen_is_unknown(name, container):
    current = read(name, facts={"cpu_limit_cores": 1.0}, **container)
    assert isinstance(current, UnreadableValue)
    assert "state the container's env and args to the source" in current.reason
    assert f"annotation perfopt.io/knob.{name}" in current.reason


def test_arguments_or_a_command_are_enough_to_know_that_a_flag_is_not_set():
    facts = {"cpu_limit_cores": 1.0}
    assert read("pool", facts=facts, args=None, command=("app",)) == CurrentValue(2.0, "by default")
    assert read("pool", facts=facts, args=("app",), command=None) == CurrentValue(2.0, "by default")
    assert read("workers", env={}, args=None, command=None) == CurrentValue(None, "not set")


@pytest.mark.parametrize(
    ("elsewhere", "where"),
    [
        ({"POOL": "ConfigMap db"}, "POOL comes from ConfigMap db"),
        ({"*": "Secret all"}, "POOL may come from Secret all"),
    ],
)
def test_a_variable_that_is_set_elsewhere_is_named(elsewhere, where):
    current = read("pool", env={"OTHER": "1"}, env_elsewhere=elsewhere)
    assert isinstance(current, UnreadableValue)
    assert f"{where}, which is not read" in current.reason


def test_a_variable_of_another_name_elsewhere_does_not_matter():
    assert read("workers", env_elsewhere={"POOL": "ConfigMap db"}) == CurrentValue(None, "not set")


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("pool", 0.2, 1.0),
        ("pool", 51, 50.0),
        ("pool", 2.34567, 2.346),
        ("workers", 1.2, 2.0),
        ("workers", 3.6, 4.0),
        ("workers", 11, 9.0),
        ("workers", math.nan, None),
        ("workers", math.inf, None),
        ("workers", "3", None),
        ("mode", "Fast", "Fast"),
        ("mode", "fast", None),
    ],
)
def test_a_computed_value_is_rounded_and_within_bounds(name, value, taken):
    result = allowed(KNOBS[name], value)
    assert result == taken
    assert type(result) is type(taken)


def test_json_has_whole_numbers_without_a_fraction():
    assert repr(plain(4.0)) == "4"
    assert repr(plain(0.12345678)) == "0.123457"
    assert plain("G1") == "G1"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("pool", None, "not set"),
        ("mode", "Fast", "Fast"),
        ("workers", 2.0, "2 workers"),
        ("pool", 2.34567, "2.346 connections"),
        ("workers", 9999.0, "9999 workers"),
        ("workers", 10_000.0, "10000 workers"),
        ("workers", -12345.6, "-12346 workers"),
        ("mode", 3.0, "3"),
    ],
)
def test_a_value_is_printed_with_its_unit(name, value, text):
    assert shown(KNOBS[name], value) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("1k", 2**10),
        ("3m", 3 * 2**20),
        ("1.5GiB", 1.5 * 2**30),
        ("2t", 2**41),
        (" 4 kb ", 4096),
        ("big", None),
    ],
)
def test_a_size_is_a_number_of_bytes(text, size):
    assert parse_size(text) == size
