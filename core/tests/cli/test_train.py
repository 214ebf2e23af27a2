import json
import shutil
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

STEPS, START = 8 * 288, 1_767_571_200_000  # 5 January 2026
TYPES = ("--types", "resource", "--validity", "1d")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Samples of twelve services over eight days."""
    rng = np.random.default_rng(3)
    rows: dict[str, Any] = {"series_id": [], "timestamp": [], "metric": [], "value": []}
    shape = 0.3 + 0.7 * np.sin(np.linspace(0, np.pi * 8, STEPS)) ** 2
    for number in range(12):
        cpu = 0.5 * shape * np.repeat(np.exp(rng.normal(0, 0.05 if number % 2 else 0.4, 8)), 288)
        memory = 5e8 * (1 + 0.2 * cpu + 0.02 * rng.random(STEPS))
        for metric, values in (("cpu_cores", cpu), ("memory_bytes", memory)):
            rows["series_id"] += [f"svc-{number:02d}"] * STEPS
            rows["timestamp"] += (START + 300_000 * np.arange(STEPS)).tolist()
            rows["metric"] += [metric] * STEPS
            rows["value"] += values.tolist()
    path = tmp_path_factory.mktemp("fleet") / "fleet.parquet"
    rows["timestamp"] = pa.array(rows["timestamp"], pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table(rows), path)
    return path


def train(run, fleet, out, *more):
    sizing = ("train", "--what", "sizing", "--source", fleet, "--all", "--validity", "1d")
    return run(*sizing, "--data", "made for a test", "--out", out, *more)


@pytest.mark.timeout(400)  # it trains models
def test_training_by_dask_writes_the_bytes_of_the_process_pool(run, fleet, tmp_path):
    pytest.importorskip("sklearn")
    written = []
    for where in ("processes", "dask://local"):
        out = tmp_path / "model.npz"
        done = train(run, fleet, out, "--executor", where)
        assert done.exit_code == 0, done.output
        written.append(out.read_bytes())
    assert written[0] == written[1]


@pytest.mark.timeout(400)  # it trains models
def test_a_model_of_the_own_fleet_is_trained_and_used(run, fleet, tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "fleet.npz"
    done = train(run, fleet, out, "--until", "2026-01-12T00:00:00Z")
    assert done.exit_code == 0, done.output
    shown = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert shown["containers"] == "12"
    assert "2026-01-12T00:00:00.000Z" in done.stdout
    digest = shown["sha256"]
    asked = run(
        "analyze", "--source", fleet, "--service", "svc-01", *TYPES, "--model", out, "--format", "ndjson"
    )
    assert asked.exit_code == 0, asked.output
    model = json.loads(asked.stdout.splitlines()[0])
    assert f"sizing model fleet 20260112 (sha256 {digest[:12]})" in model["confidence_detail"]["prior_source"]
    assert {"frontier", "in_sample"} <= {reason["code"] for reason in model["reasons"]}
    by_config = run(
        "analyze", "--source", fleet, "--service", "svc-01", *TYPES, "--format", "ndjson",
        env={"PERFOPT_ENGINE__SIZING_MODEL": str(out)},
    )  # fmt: skip
    assert by_config.stdout == asked.stdout


@pytest.mark.timeout(400)
def test_what_came_after_until_changes_nothing(run, fleet, tmp_path):
    pytest.importorskip("sklearn")
    table = pq.read_table(fleet)
    cut = pa.scalar(START + 6 * 86_400_000, pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    early = pc.less(table["timestamp"], cut)
    other = pc.if_else(early, table["value"], pc.multiply(table["value"], 3.0))
    pq.write_table(table.set_column(3, "value", other), tmp_path / "altered.parquet")
    for source, out in ((fleet, "one.npz"), (tmp_path / "altered.parquet", "two.npz")):
        assert train(run, source, tmp_path / out, "--until", "2026-01-11T00:00:00Z").exit_code == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_service_that_is_left_out_is_not_learnt_from(run, fleet, tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "model.npz"
    done = train(run, fleet, out, "--without", "svc-00", "--without", "svc-01", "--without", "svc-02")
    assert "9 series have enough history to learn from, 10 are needed." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--what", "oracle"), "called 'oracle'. Known: "),
        (("--what", "sizing", "--option", "depth=3"), "There is no option 'depth=3'. This kind has none."),
    ],
)
def test_a_kind_or_an_option_that_there_is_not_is_said_with_what_there_is(
    run, traces, tmp_path, arguments, said
):
    done = run("train", *arguments, "--source", traces, "--all", "--out", tmp_path / "model.npz")
    assert done.exit_code == 2
    assert said in done.stderr


def test_too_small_a_fleet_is_said_in_one_line(run, traces, tmp_path):
    pytest.importorskip("sklearn")
    done = train(run, traces, tmp_path / "model.npz")
    assert done.exit_code == 2
    assert "3 series have enough history to learn from, 10 are needed." in done.stderr


def test_without_scikit_learn_it_says_what_to_install(run, traces, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    done = train(run, traces, tmp_path / "model.npz")
    assert done.exit_code == 1
    assert "pip install perfopt[train]" in done.stderr


def test_services_or_all_must_be_named(run, traces, tmp_path):
    done = run("train", "--what", "sizing", "--source", traces, "--out", tmp_path / "model.npz")
    assert done.exit_code == 2
    assert "--all" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a model", "No installed kind of model accepts the file. Known: "),
        (None, "can't be read: No such file or directory. Check the path and its mode."),
    ],
)
def test_a_model_that_can_not_be_used_is_said_in_one_line(run, traces, tmp_path, content, said):
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)
    done = run("analyze", "--source", traces, "--all", "--types", "resource", "--model", path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "pickle" not in done.stderr


@pytest.mark.timeout(400)
def test_a_rebuild_is_compared_with_a_file(run, tmp_path):
    pytest.importorskip("sklearn")
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    command = ("train", "--what", "latency", "--option", "services=1500")
    out, other, parts = tmp_path / "surrogate.npz", tmp_path / "other.npz", tmp_path / "parts"
    assert run(*command, "--resume", parts, "--out", out).exit_code == 0
    (part,) = parts.rglob("simulated-*")
    stored = part.stat().st_mtime_ns
    same = run(*command, "--resume", parts, "--check", out)
    assert part.stat().st_mtime_ns == stored
    assert (same.exit_code, same.stdout.splitlines()[-1]) == (0, f"{out} has the same bytes.")
    other.write_bytes(out.read_bytes()[:-1] + b"x")
    differs = run(*command, "--check", other)
    assert differs.exit_code == 1
    assert "differs from what was trained" in differs.stderr
    assert json.loads(card_of(out))["command"] == "perfopt train --what latency --option services=1500"


def card_of(path):
    with np.load(path) as arrays:
        return arrays["card"].tobytes()


@pytest.mark.parametrize("given", [(), ("--out", "a.npz", "--check", __file__)])
def test_a_file_is_either_written_or_compared_with(run, given):
    done = run("train", "--what", "latency", *given)
    assert done.exit_code == 2
    assert "--out FILE to write a model, or --check FILE" in done.stderr
