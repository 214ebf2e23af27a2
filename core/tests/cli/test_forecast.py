"""`perfopt forecast compare` on a small file."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from perfopt.cli.main import cli

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Two series of 24 days in half-hours with a daily wave, one for each half, and one metric."""
    path = tmp_path_factory.mktemp("trace") / "series.parquet"
    steps = np.arange(24 * 48)
    wave = 5 + np.sin(2 * np.pi * steps / 48) + 0.1 * np.random.default_rng(1).standard_normal(steps.size)
    names = ["nab/a", "nasa-http/1995-08"]  # the first was fitted on
    table = pa.table(
        {
            "series_id": np.repeat(names, steps.size),
            "timestamp": pa.array(
                [START + timedelta(minutes=30 * int(step)) for step in steps] * 2, pa.timestamp("ms", "UTC")
            ),
            "metric": ["cpu_cores"] * (2 * steps.size),
            "value": np.r_[wave, 3 * wave],
        }
    )
    parquet.write_table(table, path)
    return path


def compared(trace, *options):
    done = CliRunner().invoke(
        cli, ["forecast", "compare", "--dataset", str(trace), "--origins", "2", *options]
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_each_forecaster_and_each_choice_has_a_row_on_the_half_not_fitted_on(trace):
    rows = compared(trace, "--horizons", "1d", "--forecasters", "fleet,daily-profile", "--format", "json")
    names = [row["name"] for row in rows]
    assert names == [
        *("fleet", "daily-profile", "first", "selected", "weighted"),
        *("weighted without fleet", "weighted without daily-profile", "hindsight"),
    ]
    assert {(row["series"], row["origins"]) for row in rows} == {(1, 2)}
    by_name = {row["name"]: row for row in rows}
    assert by_name["first"]["loss_of_first"] == pytest.approx(1.0)
    assert by_name["fleet"]["loss"] == pytest.approx(by_name["first"]["loss"])
    assert by_name["weighted without fleet"]["loss"] == pytest.approx(by_name["daily-profile"]["loss"])
    chosen = by_name["selected"]["loss"]
    assert min(by_name[name]["loss"] for name in ("fleet", "daily-profile")) <= chosen + 1e-9
    assert 0.3 < by_name["fleet"]["loss"] < 1.0  # a wave with noise: better than yesterday's noise


def test_hindsight_knows_what_comes_but_not_when(trace):
    rows = compared(trace, "--horizons", "1d", "--forecasters", "fleet", "--format", "json")
    hindsight = {row["name"]: row for row in rows}["hindsight"]
    assert hindsight["coverage"] == pytest.approx([0.5, 0.8, 0.9], abs=0.05)
    assert hindsight["loss"] > 2  # of a daily wave everything is in the when


def test_blocks_are_forecast_by_their_highest_value(trace):
    asked = ("--horizons", "1d", "--forecasters", "daily-profile,seasonal", "--format", "json")
    rows = {row["name"]: row for row in compared(trace, *asked, "--block", "6h")}
    assert rows["selected"]["origins"] == 2
    losses = [rows[name]["loss"] for name in ("daily-profile", "seasonal")]
    assert min(losses) <= rows["selected"]["loss"] <= max(losses)
    assert rows["daily-profile"]["loss"] != compared(trace, *asked)[0]["loss"]


def test_a_model_takes_the_place_of_the_shipped_network(trace, tmp_path):
    from perfopt.forecast.model_file import fleet_network
    from perfopt.plugin.array_file import write_arrays

    network = fleet_network()
    arrays = {"mean": network.mean, "deviation": network.deviation, "theta": 0.5 + 0.1 * network.theta}
    for number, (weights, bias) in enumerate(network.layers):
        arrays |= {f"weights_{number}": weights, f"bias_{number}": bias}
    model = tmp_path / "narrow.npz"
    model.write_bytes(write_arrays(arrays, {}))
    asked = ("--horizons", "1h", "--forecasters", "fleet", "--format", "json")
    assert compared(trace, *asked, "--model", str(model))[0]["loss"] > compared(trace, *asked)[0]["loss"]


def test_all_series_are_read_where_that_is_asked_for(trace):
    rows = compared(
        trace, "--split", "all", "--horizons", "1h", "--forecasters", "seasonal", "--format", "json"
    )
    assert {row["series"] for row in rows} == {2}


def test_an_unknown_forecaster_and_metric_are_named_with_what_there_is(trace):
    for options, expected in (
        (["--forecasters", "oracle"], "daily-profile"),
        (["--metric", "memory_bytes"], "has no metric 'memory_bytes'. Name one of: cpu_cores."),
    ):
        command = ["forecast", "compare", "--dataset", str(trace), *options]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code != 0
        assert expected in done.output


def test_a_half_without_series_is_named(trace, tmp_path):
    table = parquet.read_table(trace)
    fitted_on = tmp_path / "tune.parquet"
    parquet.write_table(table.slice(0, table.num_rows // 2), fitted_on)
    done = CliRunner().invoke(cli, ["forecast", "compare", "--dataset", str(fitted_on)])
    assert (done.exit_code, "Take --split all" in done.output) == (2, True)
