"""Reading a catalogue: a user's own entries, and mistakes named with their line."""

import pytest

from perfopt.plugin import METRICS, SettingsFile
from perfopt.plugin.documents import InvalidInputError
from perfopt_tuning.knobs.command import main
from perfopt_tuning.knobs.read import extended_catalogue, metrics_of, read_catalogue, shipped_catalogue
from perfopt_tuning.settings import TuningSettings

OWN = """\
runtimes:
  celery:
    title: Celery
    args: ['celery .*worker']
knobs:
  celery_concurrency:
    title: Celery concurrency
    runtime: celery
    unit: processes
    minimum: 1
    maximum: 32
    read: [{argument: '--concurrency[ =](\\d+)'}]
    set: {flags: [--concurrency]}
    default: node_cores
    formula: max(1, ceil(cpu_limit_cores))
    because: A process computes on one core.
    source: https://docs.celeryq.dev/en/stable/userguide/workers.html
    safety: Takes effect at the next start.
"""


def test_a_users_knob_is_decided_like_the_shipped_ones(bench):
    knobs = bench.knobs(
        args=("celery", "-A", "app", "worker", "--concurrency", "16"),
        cpu_limit_cores=1.5,
        settings={"knob_catalogue": {"path": "own.yaml", "content": OWN.encode()}},
    )
    assert knobs == {"celery_concurrency": 2}


def test_a_users_entry_takes_the_place_of_the_shipped_one(bench):
    one_each = OWN.replace("celery_concurrency", "gomaxprocs").replace("runtime: celery", "runtime: go")
    catalogue = extended_catalogue("own.yaml", one_each.encode())
    assert catalogue.knobs["gomaxprocs"].entry.title == "Celery concurrency"
    assert len(catalogue.knobs) == len(shipped_catalogue().knobs)


def test_settings_refuse_a_wrong_catalogue_of_the_users():
    with pytest.raises(InvalidInputError, match=r"own\.yaml:1"):
        TuningSettings(knob_catalogue=SettingsFile(path="own.yaml", content=b"knobs: {x: {title: X}}"))


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("limit_cores)", "limit_core)", 15, "cpu_limit_core'. (own.yaml:15) Did you mean 'cpu_limit_cores'?"),
        ("max(1,", "maximum(1,", 15, "There is no function 'maximum'"),
        ("max(1, ceil(cpu_limit_cores))", "__import__('os').getcwd()", 15, "There is no function ''"),
        ("max(1, ceil(cpu_limit_cores))", "(x for x in y)", 15, "has no place in a formula"),
        ("max(1, ceil(cpu_limit_cores))", "max(1", 15, "is not a formula"),
        ("max(1, ceil(cpu_limit_cores))", "peak(cpu_core)", 15, "There is no metric 'cpu_core'"),
        ("(\\d+)", "\\d+", 12, "has no group. (own.yaml:12) Put 1 in parentheses."),
        ("'--conc", "'(--conc", 12, "is not a pattern"),
        ("runtime: celery", "runtime: cellery", 8, "no runtime 'cellery'. (own.yaml:8)"),
        ("    minimum: 1\n", "", 6, "A number needs bounds"),
        ("unit:", "units:", 9, "There is no field 'units' here. (own.yaml:9) Did you mean 'unit'?"),
        ("{flags: [--concurrency]}", "{}", 13, "It cannot be set"),
        ("knobs:", "knob:", 5, "There is no section 'knob'. (own.yaml:5) Did you mean 'knobs'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_what_to_do(old, new, line, problem):
    assert old in OWN
    with pytest.raises(InvalidInputError) as caught:
        read_catalogue(OWN.replace(old, new), "own.yaml", shipped_catalogue())
    assert problem in str(caught.value)
    assert f"own.yaml:{line}" in str(caught.value)


def test_every_shipped_knob_states_bounds_source_and_safety():
    for knob in shipped_catalogue().knobs.values():
        assert len(knob.entry.source) > 10
        assert len(knob.entry.safety) > 10
        assert knob.entry.choices or knob.entry.minimum < knob.entry.maximum


def test_the_metrics_that_are_read_are_known():
    assert set(metrics_of(shipped_catalogue())) <= set(METRICS)


def test_the_command_checks_a_file(tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    assert main(["check", str(path)]) == 0
    assert "1 knobs added, 0 in place" in capsys.readouterr().out
    path.write_text(OWN.replace("max(1,", "maximum(1,"))
    assert main(["check", str(path)]) == 2
    assert "own.yaml:15" in capsys.readouterr().err


def test_the_command_lists_knobs_and_facts(capsys):
    assert main(["list"]) == 0
    assert "gomaxprocs" in capsys.readouterr().out
    assert main(["facts"]) == 0
    assert "database_cores" in capsys.readouterr().out


def test_an_old_name_of_a_fact_is_still_read(bench):
    old = OWN.replace("ceil(cpu_limit_cores)", "ceil(most_replicas)")
    assert "ceil(most_replicas)" in old
    settings = {"knob_catalogue": {"path": "own.yaml", "content": old.encode()}}
    args = ("celery", "-A", "app", "worker", "--concurrency", "16")
    assert bench.knobs(args=args, cpu_limit_cores=1.5, replicas=3, settings=settings) == {
        "celery_concurrency": 3
    }
