import json
import sys

import pytest

from perfopt.testing import CHECKS

SOUND = "perfopt.testing.examples:PEAK"


def test_a_sound_plugin_passes_every_property(run):
    done = run("plugin", "check", SOUND)
    assert done.exit_code == 0, done.output
    lines = [line.split()[:2] for line in done.output.splitlines() if line.startswith("  ")]
    assert lines == [["pass", check] for check in CHECKS]
    assert done.output.endswith("10 passed, 0 failed.\n")


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("RAISES", "survives", "raised ValueError: I can't do this (bad.py, line"),
        ("HANGS", "deadline", "took longer than 1 s"),
        ("EXITS", "process", "ended its process with exit code 3"),
        ("EATS_MEMORY", "memory", "MiB are allowed"),
        ("MUTATES", "inputs", "altered its input"),
        ("RETURNS_NONE", "result", "returned NoneType"),
        ("RandomStrategy", "deterministic", "two results for the same input"),
        ("SocketOpeningStrategy", "no_io", "socket"),
    ],
)
def test_a_property_that_is_lacking_is_shown_with_its_reason(run, name, check, reason):
    done = run("plugin", "check", f"perfopt.testing.bad:{name}", "--deadline", "1", "--memory", "300")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("  FAIL")]
    assert lines[at].split()[1] == check
    assert reason in lines[at + 1]


def test_what_could_not_be_tried_is_no_pass(run):
    done = run("plugin", "check", "perfopt.testing.bad:HANGS", "--deadline", "1")
    assert "2 passed, 1 failed, 7 skipped" in done.output
    assert "  skip  deterministic" in done.output


@pytest.mark.parametrize("name", ["UNPICKLABLE", "BAD_NAME", "UNKNOWN_METRIC"])
def test_what_is_no_strategy_fails_to_load(run, name):
    done = run("plugin", "check", f"perfopt.testing.bad:{name}", "--format", "json")
    assert done.exit_code == 1
    (result,) = json.loads(done.stdout)
    assert (result["check"], result["passed"]) == ("loads", False)
    assert "The strategy" in result["violations"][0]["message"]


def test_a_module_that_raises_on_import_fails_to_load(run, tmp_path, monkeypatch):
    (tmp_path / "broken_on_import.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the current folder
    done = run("plugin", "check", "broken_on_import")
    assert done.exit_code == 1
    assert (
        "Importing it raised ZeroDivisionError: division by zero (broken_on_import.py, line 1)" in done.output
    )


def test_a_package_that_is_not_there_is_wrong_input(run):
    done = run("plugin", "check", "not_there")
    assert done.exit_code == 2
    assert "There is no installed plugin and no module not_there." in done.output
