import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

STEPS, START = 7 * 288, 1_767_571_200_000  # 5 January 2026
OPTIONS = [f"--option={one}" for one in ("networks=1", "epochs=2", "origins=120", "generated=10")]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Samples of ten services over a week, with days of their own shape."""
    rng = np.random.default_rng(3)
    time = np.arange(STEPS)
    tables = []
    for number in range(10):
        day = 1 + 0.6 * np.sin(time / 288 * 2 * np.pi + number)
        cpu = day * rng.gamma(40, 1 / 40, STEPS) * (0.2 + 0.1 * number)
        for metric, values in (("cpu_cores", cpu), ("requests_per_second", 30 * cpu)):
            tables.append(
                pa.table(
                    {
                        "series_id": [f"svc-{number:02d}"] * STEPS,
                        "timestamp": pa.array(START + 300_000 * time, pa.timestamp("ms", tz="UTC")),
                        "metric": [metric] * STEPS,
                        "value": values,
                    }
                )
            )
    path = tmp_path_factory.mktemp("fleet") / "fleet.parquet"
    pq.write_table(pa.concat_tables(tables), path)
    return path


def predictions(run, fleet, *more):
    asked = ("--source", fleet, "--service", "svc-01", "--types", "resource", "--validity", "1d")
    done = run("analyze", *asked, "--include-predictions", "--format", "json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.timeout(300)  # TensorFlow alone takes seconds to import
def test_a_network_of_the_own_fleet_is_trained_and_forecasts_in_an_analysis(run, fleet, tmp_path):
    pytest.importorskip("tensorflow")
    out = tmp_path / "fleet.npz"
    command = ("train", "--what", "forecast", "--source", fleet, "--all", *OPTIONS)
    done = run(*command, "--out", out)
    assert done.exit_code == 0, done.output
    shown = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert shown["series"] == "20"
    assert 0 < float(shown["loss cpu_cores"]) < 1
    assert 0 < float(shown["loss requests_per_second"]) < 1
    with np.load(out) as arrays:
        card = json.loads(arrays["card"].tobytes())
    assert card["measured_series"] == {"cpu_cores": 10, "requests_per_second": 10}
    again = run(*command, "--resume", tmp_path / "parts", "--check", out)
    assert again.stdout.endswith("has the same bytes.\n"), again.output
    assert predictions(run, fleet) != predictions(run, fleet, "--set", f"perfopt.forecast_model={out}")


def test_a_few_days_of_a_few_services_are_too_little(run, traces, tmp_path):
    pytest.importorskip("tensorflow")
    done = run("train", "--what", "forecast", "--source", traces, "--all", "--out", tmp_path / "model.npz")
    assert done.exit_code == 2
    assert "series have enough history to learn from, 8 are needed." in done.stderr
