import json

import pytest

PEAK = "perfopt.testing.examples:PeakStrategy"
CRASHING = "perfopt.testing.bad:RaisingStrategy"
NEGATIVE = "perfopt.testing.bad:NegativeRequestStrategy"
SERVICE = "bitbrains-rnd/vm237"


def test_a_proposal_is_printed_with_what_it_changes(run, traces):
    done = run("plugin", "run", PEAK, "--source", traces, "--service", SERVICE)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{SERVICE}  {PEAK}/peak  RESOURCE_OPTIMIZATION\n")
    assert "  main.cpu_request: unset -> 1645m\n" in done.stdout


def test_every_service_is_run_on_where_none_is_named(run, traces):
    done = run("plugin", "run", PEAK, "--source", traces, "--format", "json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({line["service_name"] for line in lines}) == len(lines) == 3
    assert all(line["proposal"]["optimization_type"] == "RESOURCE_OPTIMIZATION" for line in lines)


def test_an_abstention_is_printed_with_its_reason(run, traces):
    done = run("plugin", "run", "cost", "--source", traces, "--service", SERVICE)
    assert done.exit_code == 0, done.output
    assert "  abstained: unknown_state: " in done.stdout


def test_a_crash_shows_the_whole_traceback(run, traces):
    done = run(
        "plugin", "run", "perfopt.testing.bad:RaisingStrategy", "--source", traces, "--service", SERVICE
    )
    assert done.exit_code == 1
    assert f"Error: {SERVICE}: the strategy raised ValueError." in done.stderr
    assert 'bad.py", line' in done.stderr
    assert "in propose\n    raise ValueError(" in done.stderr


def test_a_result_against_the_contract_is_an_error(run, traces):
    done = run(
        "plugin",
        "run",
        "perfopt.testing.bad:NegativeRequestStrategy",
        "--source",
        traces,
        "--service",
        SERVICE,
    )
    assert done.exit_code == 1
    assert "the strategy returned cpu_request_cores = -" in done.stderr


def test_an_import_that_fails_shows_the_whole_traceback(run, traces, tmp_path, monkeypatch):
    (tmp_path / "imports_nothing.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    done = run("plugin", "run", "imports_nothing", "--source", traces)
    assert done.exit_code == 1
    assert 'imports_nothing.py", line 1' in done.stderr
    assert "No module named 'nowhere_to_be_found'" in done.stderr


@pytest.mark.parametrize(
    ("strategy", "error"),
    [
        ("resource/none-such", "resource has no strategy none-such. It has: resource/"),
        ("perfopt.testing.bad:BAD_NAME", "has a name that is not of the form"),
        ("perfopt.testing.bad:UnpicklableStrategy", "can't be pickled"),
    ],
)
def test_a_strategy_that_can_not_be_run_is_wrong_input(run, traces, strategy, error):
    done = run("plugin", "run", strategy, "--source", traces)
    assert done.exit_code == 2
    assert error in done.stderr
