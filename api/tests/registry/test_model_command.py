"""`perfopt model`: from a file to the model that workers use, and back, on a real database."""

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt_api.store.database import Database
from perfopt_api.store.models import PostgresModels
from perfopt_resource.model.forest import CELLS, GRID
from perfopt_resource.model.sizing_model import shipped_model

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 4


@pytest.fixture
def run(database_url, tmp_path):
    """Runs `perfopt model ...` as a person does."""

    def invoke(*arguments):
        env = {
            "PERFOPT_SERVICE__DATABASE_URL": database_url,
            "PERFOPT_ENGINE__PROCESSES": "1",
            "PERFOPT_ENGINE__DEADLINE_SECONDS": "60",
        }
        return CliRunner().invoke(cli, ["model", *map(str, arguments)], env=env, prog_name="perfopt")

    return invoke


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Five services of 5-minute samples whose use is as steady as it gets."""
    lines = ["series_id,timestamp,metric,value"]
    noise = np.random.default_rng(7)
    for service in range(5):
        for step in range(288 * DAYS):
            at = (START + step * timedelta(minutes=5)).isoformat()
            cpu, memory = 0.5 + 0.01 * noise.random(), 1e9 + 1e6 * noise.random()
            lines += [f"s{service},{at},cpu_cores,{cpu}", f"s{service},{at},memory_bytes,{memory}"]
    path = tmp_path_factory.mktemp("fleet") / "samples.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def model_file(tmp_path):
    """Writes a model: the shipped one, or one by which needs are never below some multiple of the past."""

    def write(name, least=-np.inf, **card):
        shipped = shipped_model()
        cells, low = np.divmod(shipped.forest.member, CELLS), np.searchsorted(GRID, least)
        cpu, memory = (np.maximum(cell, low) for cell in cells)
        changed = dataclasses.replace(
            shipped,
            forest=dataclasses.replace(shipped.forest, member=(cpu * CELLS + memory).astype(np.uint16)),
            card=msgspec.structs.replace(shipped.card, name=name, trained_until=None, **card),
        )
        changed.save(tmp_path / f"{name}.npz")
        return tmp_path / f"{name}.npz"

    return write


@pytest.fixture
def replayed(samples):
    return ("--source", samples, "--history", "36h", "--validity", "12h", "--cuts", "4")


def test_a_file_becomes_a_candidate_that_is_listed_and_shown(run, model_file):
    assert run("list").output == "No model is registered; `perfopt model register FILE` adds one.\n"
    file = model_file("fleet")
    done = run("register", file, "--by", "ada")
    assert done.output.startswith("sizing model 1 is registered, candidate, sha256 ")
    assert run("register", file).output == done.output
    line = run("list").output.splitlines()[1].split()
    assert line[:4] == ["sizing", "1", "candidate", "fleet"]
    shown = json.loads(run("show", "1").output)
    assert (shown["card"]["name"], shown["created_by"]) == ("fleet", "ada")
    assert json.loads(run("list", "--format", "json").output)[0]["sha256"] == shown["sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("register", "none.npz"), "none.npz can't be read"),
        (("register", __file__), "No installed kind of model accepts the file. Known: "),
        (("register", __file__, "--kind", "sizing"), "not a sizing model of this version"),
        (("register", __file__, "--kind", "oracle"), "no kind of model called 'oracle'"),
        (("show", "3"), "No model is registered"),
        (("show", "3", "--kind", "sizing"), "There is no sizing model 3"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run, arguments, message):
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_what_is_no_better_is_rejected_with_its_figures(run, model_file, replayed):
    run("register", model_file("wasteful", least=np.log(3)))
    done = run("promote", "1", *replayed)
    assert done.exit_code == 1, done.output
    assert "20 windows of 5 services" in done.output
    assert "sizing model 1 is not promoted. " in done.output
    shown = json.loads(run("show", "1").output)
    assert shown["status"] == "rejected"
    assert not shown["replay"]["comparison"]["better"]


def test_comparing_two_changes_nothing(run, model_file, replayed):
    run("register", model_file("wasteful", least=np.log(3)))
    run("register", model_file("thrifty"))
    compared = json.loads(run("compare", "2", "--with", "1", *replayed, "--format", "json").output)
    assert compared["comparison"]["better"]
    assert compared["comparison"]["granted_change"]["high"] < -0.3
    assert json.loads(run("show", "2").output)["status"] == "candidate"


def test_promotion_is_against_what_is_active_and_kept_with_its_figures(
    run, model_file, replayed, database_url
):
    run("register", model_file("wasteful", least=np.log(3)))
    run("register", model_file("thrifty"))
    activate(database_url, 1)
    done = run("promote", "2", *replayed, "--by", "ada")
    assert done.exit_code == 0, done.output
    assert "wastes less and is no less accurate" in done.output
    assert done.output.endswith("sizing model 2 is active.\n")
    shown = json.loads(run("show", "2").output)
    assert (shown["status"], shown["promoted_by"]) == ("active", "ada")
    assert shown["replay"]["incumbent_version"] == 1
    assert shown["replay"]["comparison"]["candidate"]["accuracy"] == 1.0
    again = run("promote", "2", *replayed)
    assert again.exit_code == 1
    assert "is what it would be compared with" in again.output

    assert run("rollback").output == "sizing model 2 is retired; sizing model 1 is active.\n"
    assert run("rollback").output == "sizing model 1 is retired; what is configured or shipped is used.\n"
    assert run("rollback").exit_code == 1


def activate(database_url, version):
    async def go():
        database = Database(database_url, pool_size=1)
        registry = PostgresModels(database)
        model = await registry.get("sizing", version)
        await registry.activate(model, instead_of=None, replay={}, by="ada")
        await database.close()

    asyncio.run(go())


def test_a_model_is_not_judged_on_what_it_learnt_from(run, model_file, replayed, tmp_path):
    shipped = shipped_model()
    card = msgspec.structs.replace(shipped.card, trained_until="2026-03-05T00:00:00Z")
    dataclasses.replace(shipped, card=card).save(tmp_path / "late.npz")
    run("register", tmp_path / "late.npz")
    done = run("promote", "1", *replayed)
    assert done.exit_code == 2
    assert "judged on what it has seen" in done.output
    assert json.loads(run("show", "1").output)["status"] == "candidate"
