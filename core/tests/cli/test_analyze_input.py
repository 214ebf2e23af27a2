"""What a user sees on standard error for each kind of wrong input, and the exit code."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from config_file import write_config

TYPES = "resource, scaling, cost, latency, tuning"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--all", "--types", "SPEED"],
            f"Error: types: 'SPEED' is not an optimization type. Known: {TYPES}.\n",
        ),
        (
            ["--all", "--period", "two weeks"],
            "Error: period: 'two weeks' is not a duration."
            " Write 14d, 24h or 1w, ISO 8601 such as P14D, or start/end.\n",
        ),
        (
            ["--all", "--period", "99999d"],
            "Error: period: '99999d' is out of range. Give more than zero and at most 400 days.\n",
        ),
        (
            ["--all", "--validity", "0d"],
            "Error: validity: '0d' is out of range. Give more than zero and at most 400 days.\n",
        ),
        (
            ["--all", "--until", "2013-08-26T00:00:00"],
            "Error: until: '2013-08-26T00:00:00' names no time zone."
            " Add Z for UTC, or an offset such as +01:00.\n",
        ),
        (
            ["--all", "--until", "2013-08-26T00:00:00Z", "--period", "P1D/2013-08-26T00:00:00Z"],
            "Error: until: The period 'P1D/2013-08-26T00:00:00Z' has an end already."
            " Leave one of the two out.\n",
        ),
    ],
)
def test_wrong_options(run, traces, arguments, message):
    done = run("analyze", "--source", traces, *arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize("arguments", [[], ["--all", "--service", "web"]])
def test_neither_or_both_of_service_and_all(run, traces, arguments):
    done = run("analyze", "--source", traces, *arguments)
    assert done.exit_code == 2
    assert "Error: Give either --service NAME (once or more) or --all.\n" in done.stderr


def test_an_unknown_service_lists_the_nearest(run, traces):
    done = run("analyze", "--source", traces, "--service", "bitbrains-rnd/vm9999")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(
        "Error: service_name: There is no service 'bitbrains-rnd/vm9999'. Nearest: bitbrains-rnd/vm"
    )
    assert done.stderr.count("bitbrains-rnd/vm") == 4


def test_no_data_in_the_period(run, traces):
    name = pq.read_table(traces, columns=["series_id"])["series_id"][0].as_py()
    done = run(
        "analyze", "--source", traces, "--service", name, "--until", "2001-01-01T00:00:00Z", "--period", "1d"
    )
    assert done.exit_code == 1
    assert (
        f"{name} has no samples from 2000-12-31T00:00:00.000Z to 2001-01-01T00:00:00.000Z."
        " Its samples are from 2013-" in done.stderr
    )


def test_no_source(run):
    done = run("analyze", "--all")
    assert done.exit_code == 2
    assert done.stderr == (
        "Error: source: No metric source is named or configured."
        " Name a configured source, a URL or a file, or set default_source.\n"
    )


def test_a_blank_source_is_not_the_present_directory(run):
    done = run("analyze", "--source", "", "--all")
    assert done.exit_code == 2
    assert done.stderr == ("Error: source: The source is blank. Name a configured source, a URL or a file.\n")


def test_a_source_that_is_nothing(run):
    done = run("analyze", "--source", "trace", "--all")
    assert done.exit_code == 2
    assert done.stderr == (
        "Error: source: 'trace' is no configured source, no URL and no file. Check the path or the name.\n"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty. Write it again; it holds no bytes at all."),
        (
            b"<html>404</html>",
            "is not Parquet, or truncated."
            " Give a Parquet file, or name a CSV file .csv; a copy that broke off also looks so.",
        ),
    ],
)
def test_a_file_that_is_no_parquet(run, tmp_path, content, problem):
    path = tmp_path / "traces.parquet"
    path.write_bytes(content)
    done = run("analyze", "--source", path, "--all")
    assert (done.exit_code, done.stderr) == (1, f"Error: source: The file {path} {problem}\n")


def test_a_truncated_file(run, traces, tmp_path):
    path = tmp_path / "traces.parquet"
    path.write_bytes(traces.read_bytes()[:5000])
    done = run("analyze", "--source", path, "--all")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: source: The file {path} is not Parquet, or truncated.")


def test_a_missing_column(run, tmp_path):
    path = tmp_path / "traces.parquet"
    pq.write_table(pa.table({"series_id": ["a"], "metric": ["cpu_cores"], "value": [1.0]}), path)
    done = run("analyze", "--source", path, "--all")
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: timestamp: The file {path} has no column timestamp."
        " It must hold series_id, timestamp, metric, value.\n",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "services:\n  web:\n    requests: {cpu: fast}\n",
            "Error: services.web.requests.cpu: 'fast' is not a Kubernetes quantity. (FILE:3)"
            " Write a number with an optional suffix, for example 300m, 0.5, 1Gi or 1e3.\n",
        ),
        (
            "services:\n  web:\n    replica: 3\n",
            "Error: services.web.replica: There is no field 'replica' here. (FILE:3)"
            " Did you mean 'replicas'?\n",
        ),
        (
            "services:\n  web:\n    replicas: many\n",
            "Error: services.web.replicas: Expected integer, 0 to 100000, got text."
            " (FILE:3) Correct the value.\n",
        ),
    ],
)
def test_a_wrong_services_file(run, traces, tmp_path, text, message):
    path = tmp_path / "services.yaml"
    path.write_text(text)
    done = run("analyze", "--source", traces, "--all", "--services", path)
    assert (done.exit_code, done.stderr.replace(str(path), "FILE")) == (2, message)


def test_a_wrong_configuration(run, traces, tmp_path):
    path = write_config(tmp_path, "engine: {deadline: 5}\n")
    expected = (
        "Error: engine.deadline: There is no field 'deadline' here. (FILE:1)"
        " Did you mean 'deadline_seconds'?\n"
    )
    done = run("analyze", "--source", traces, "--all", "--config", path)
    assert (done.exit_code, done.stderr.replace(str(path), "FILE")) == (2, expected)
    done = run("config", "show", env={"PERFOPT_CONFIG": str(path)})
    assert (done.exit_code, done.stderr.replace(str(path), "FILE")) == (2, expected)


def test_an_unexpected_error_is_one_line(run, traces, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero\nmore")

    monkeypatch.setattr("perfopt.sources.factory.open_source", broken)
    done = run("analyze", "--source", traces, "--all")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: Internal error: ZeroDivisionError: division by zero."
        " Set PERFOPT_DEBUG=1 to see where, and please report it.\n"
    )
    done = run("analyze", "--source", traces, "--all", env={"PERFOPT_DEBUG": "1"})
    assert isinstance(done.exception, ZeroDivisionError)
