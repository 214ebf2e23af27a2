"""`perfopt fleet` over the sample of real VMs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli

SAMPLE = Path(__file__).parent.parent / "data" / "bitbrains_three_vms.parquet"


@pytest.fixture
def run(tmp_path):
    services = tmp_path / "services.yaml"
    services.write_text("defaults:\n  requests: {cpu: 2, memory: 8Gi}\n  replicas: 3\n")
    common = ["--source", str(SAMPLE), "--services", str(services), "--processes", "1", "--types", "resource"]
    return lambda *arguments: CliRunner().invoke(cli, ["fleet", *common, *arguments])


def test_both_sides_are_packed_on_the_nodes_of_the_book(run):
    result = run("--price-book", "example:aws-us-east-1", "--format", "json")
    assert result.exit_code == 0, result.output
    view = json.loads(result.stdout)
    assert view["workloads"] + len(view["left_out"]) == 3
    assert view["recommended"]["packed_cost_month"] <= view["current"]["packed_cost_month"]
    for side in (view["current"], view["recommended"]):
        assert 0 < side["bound_month"] <= side["packed_cost_month"]


def test_the_table_says_what_packing_saves(run):
    result = run("--price-book", "example:aws-us-east-1")
    assert result.exit_code == 0, result.output
    assert "lower bound" in result.stdout
    assert "of nodes, by example-aws-us-east-1." in result.stdout


def test_a_budget_says_which_changes_are_enough(run):
    book = ("--price-book", "example:aws-us-east-1")
    view = json.loads(run(*book, "--format", "json").stdout)
    everything = view["recommended"]["packed_cost_month"]
    result = run(*book, "--budget", str(everything + 1))
    assert result.exit_code == 0, result.output
    assert "changes are enough: nodes then cost" in result.stdout
    assert "by HiGHS" in result.stdout
    assert "No choice of the recommended changes" in run(*book, "--budget", "1").stdout


def test_a_book_without_node_types_is_wrong_input(run):
    assert run().exit_code == 2
    result = run("--price-book", "nope")
    assert result.exit_code == 2
    assert "There is no price book 'nope'" in result.output
