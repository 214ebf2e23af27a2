import csv
import json
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import (
    Declined,
    OptimizationRecommendation,
)
from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.errors import NoDataError, SourceUnavailableError

DECLINED = Declined(
    optimization_type=OptimizationType.COST_OPTIMIZATION,
    code=DeclineCode.NO_STRATEGY,
    reason="No installed plugin makes COST_OPTIMIZATION.",
)
EMPTY = (Workload(id=WorkloadId(name="idle"), service_name="idle", state=WorkloadState(containers=())),)
NO_DATA = (*EMPTY, NoDataError("idle has no samples."))
BROKEN = (*EMPTY, SourceUnavailableError("The server did not answer.", remedy="Try again later."))


def test_ndjson_is_a_recommendation_or_a_decline_a_line(run, traces, fleet):
    done = run("analyze", "--source", traces, "--all", "--format", "ndjson")
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["service_name"] for line in lines] == ["web", "web", "db", "db", "api"]
    recommendation = msgspec.convert(lines[0], OptimizationRecommendation)
    assert list(lines[0])[:7] == [
        "recommendation_id",
        "service_name",
        "optimization_type",
        "description",
        "current_state",
        "recommended_state",
        "expected_improvement",
    ]
    assert recommendation.recommended_state["cpu_request"] == "300m"
    assert lines[4] == {
        "service_name": "api",
        "optimization_type": "COST_OPTIMIZATION",
        "declined": {"code": "no_strategy", "reason": "No installed plugin makes COST_OPTIMIZATION."},
    }


def test_ids_are_numbered_over_the_run(run, traces, fleet):
    done = run("analyze", "--source", traces, "--all", "--format", "ndjson")
    ids = [json.loads(line).get("recommendation_id") for line in done.stdout.splitlines()]
    assert [i for i in ids if i] == ["opt_20261108_001", "opt_20261108_002"]


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_json_and_yaml_are_one_document(run, traces, fleet, form, parse):
    done = run("analyze", "--source", traces, "--all", "--format", form)
    document = parse(done.stdout)
    assert [result["service_name"] for result in document["results"]] == ["web", "db", "api"]
    first = document["results"][0]
    assert first["recommendations"][0]["recommendation_id"] == "opt_20261108_001"
    assert first["recommendations"][0]["current_state"]["memory_request"] == "1Gi"
    assert document["results"][2]["warnings"] == [{"code": "short_history", "message": "2d of history."}]
    assert document["failed"] == []


def test_csv_has_a_row_a_field_and_costs_once_a_service(run, traces, fleet):
    rows = list(
        csv.DictReader(run("analyze", "--source", traces, "--all", "--format", "csv").stdout.splitlines())
    )
    assert [(row["service"], row["field"], row["current"], row["recommended"]) for row in rows] == [
        ("web", "cpu request", "2", "300m")
    ]
    assert (rows[0]["monthly_cost_recommended"], rows[0]["assumed_from_limit"]) == ("37.6", "false")


def test_rows_go_to_a_table_beside_the_output(run, traces, fleet, tmp_path):
    done = run("analyze", "--source", traces, "--all", "--rows", tmp_path / "rows.parquet")
    assert "web" in done.stdout
    (row,) = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (row["service"], row["recommended_value"], row["monthly_cost_current"]) == ("web", 0.3, 100.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rows", "rows.xlsx"), "rows: rows.xlsx is neither CSV nor Parquet"),
        (("--rows", "/none/rows.csv"), "rows: /none/rows.csv can't be written"),
        (("--rows", "rows.csv", "--format", "ndjson"), "--rows has no effect with --format ndjson"),
    ],
)
def test_rows_that_cannot_be_written_are_refused_first(run, traces, answers, options, says):
    asked = answers()
    done = run("analyze", "--source", traces, "--all", *options)
    assert (done.exit_code, asked) == (2, {})
    assert says in done.stderr


def test_markdown_is_a_table_and_a_list(run, traces, fleet):
    lines = run("analyze", "--source", traces, "--all", "--format", "markdown").stdout.splitlines()
    assert lines[2].startswith("| ▼ | web | main | resource | cpu request | 2 → 300m | 100.00 → 37.60 EUR")
    assert "- **no change** resource, db" in lines


def test_verbose_adds_descriptions_evidence_and_reasons(run, traces, fleet):
    shown = run("analyze", "--source", traces, "--all", "--verbose").stdout
    assert "Lower the CPU request from 2 to 300m." in shown
    assert "own hit rate 100 % (n_eff 2.0); prior 0.90 (weight 2, measured)" in shown


def test_output_goes_to_a_file(run, traces, fleet, tmp_path):
    there = run("analyze", "--source", traces, "--all", "-o", tmp_path / "found.txt")
    assert there.stdout == ""
    shown = run("analyze", "--source", traces, "--all").stdout
    assert (tmp_path / "found.txt").read_text(encoding="utf-8") == shown


def test_a_file_that_cannot_be_written_is_wrong_input_before_the_analysis(run, traces, fleet, tmp_path):
    done = run("analyze", "--source", traces, "--all", "-o", tmp_path / "none" / "found.txt")
    assert (done.exit_code, fleet) == (2, {})
    assert "Name a file in a folder that exists." in done.stderr


def test_options_reach_the_analysis(run, traces, fleet):
    done = run(
        *("analyze", "--source", traces, "--service", "web", "--service", "db"),
        *("--until", "2026-11-08T00:00:00Z", "--period", "P7D", "--validity", "3d"),
        *("--types", "resource,COST_OPTIMIZATION", "--types", "tuning", "--include-predictions"),
    )
    assert done.exit_code == 0
    assert fleet == {
        "source": str(traces),
        "names": ("web", "db"),
        "until": datetime(2026, 11, 8, tzinfo=UTC),
        "period": timedelta(days=7),
        "validity": timedelta(days=3),
        "types": (
            OptimizationType.RESOURCE_OPTIMIZATION,
            OptimizationType.COST_OPTIMIZATION,
            OptimizationType.PERFORMANCE_TUNING,
        ),
        "include_predictions": True,
        "concurrency": 2,
    }


def test_a_period_may_carry_its_end(run, traces, fleet):
    run("analyze", "--source", traces, "--all", "--period", "P7D/2026-11-08T00:00:00Z")
    assert (fleet["period"], fleet["until"]) == (timedelta(days=7), datetime(2026, 11, 8, tzinfo=UTC))


def test_a_service_without_samples_is_declined_in_a_fleet_and_no_failure(
    run, traces, answers, result, recommendation
):
    answers(NO_DATA, result("web", [recommendation("web")]))
    done = run("analyze", "--source", traces, "--all", "--types", "resource", "--format", "ndjson")
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[0]) == {
        "service_name": "idle",
        "optimization_type": "RESOURCE_OPTIMIZATION",
        "declined": {"code": "no_data", "reason": "idle has no samples."},
    }


def test_a_fleet_in_which_nothing_has_samples_is_a_failure(run, traces, answers):
    answers(NO_DATA)
    done = run("analyze", "--source", traces, "--all", "--types", "resource", "--format", "ndjson")
    assert done.exit_code == 1


@pytest.mark.parametrize("form", ["ndjson", "json", "yaml", "table", "csv", "markdown"])
def test_a_failing_service_is_reported_and_costs_the_exit_code_only(
    run, traces, answers, result, recommendation, form
):
    answers(BROKEN, result("web", [recommendation("web")]))
    done = run("analyze", "--source", traces, "--all", "--format", form)
    assert done.exit_code == 1
    assert done.stderr == "Error: idle: The server did not answer. Try again later.\n"
    assert (
        form == "csv"
        or "source_unavailable" in done.stdout
        or "The server did not answer. Try again later." in done.stdout
    )
    assert "300m" in done.stdout


def test_a_named_service_without_samples_is_a_failure(run, traces, answers):
    answers(NO_DATA)
    done = run("analyze", "--source", traces, "--service", "idle")
    assert done.exit_code == 1
    assert done.stderr == "Error: idle: idle has no samples.\n"


def test_the_real_engine_gives_the_same_bytes_for_any_number_of_processes(run, traces):
    outputs = {
        run("analyze", "--source", traces, "--all", "--format", "ndjson", "--processes", n).stdout_bytes
        for n in (1, 2)
    }
    assert len(outputs) == 1
    services = {json.loads(line)["service_name"] for line in outputs.pop().splitlines()}
    assert len(services) == 3


def test_types_declined_for_one_reason_are_one_row(run, traces, answers, result):
    of = [
        Declined(optimization_type=kind, code=DeclineCode.NO_DATA, reason="There is no series of it.")
        for kind in OptimizationType
    ]
    few = [msgspec.structs.replace(one, reason="It is idle.") for one in of[:2]]
    answers(
        msgspec.structs.replace(result("gone", []), declined=tuple(of)),
        msgspec.structs.replace(result("idle", []), declined=tuple(few)),
    )
    shown = run("analyze", "--source", traces, "--all").stdout
    rows = [line.split(maxsplit=3) for line in shown.splitlines() if "no_data" in line]
    assert [row[1] for row in rows] == ["all", "resource,"]


@pytest.fixture
def page(run, traces, tmp_path):
    file = tmp_path / "page.html"
    done = run("analyze", "--source", traces, "--all", "--types", "resource", "--html", file)
    assert done.exit_code == 0, done.output
    return file.read_text(encoding="utf-8")


def test_page_draws_use_current_and_recommended_values_and_the_backtest(page):
    for text in (
        "cpu used per pod: p50",
        "current request",
        "recommended request",
        ">backtest<",
    ):
        assert text in page
    assert re.search(r"\d of 5 accurate", page)
    assert re.search(r'<rect [^>]*class="(ok|not)"><title>2013-', page)


def test_page_is_self_contained_small_and_the_same_every_time(page, run, traces, tmp_path):
    assert not re.search(r"<script|<link|src=|https?://|@import", page)
    assert len(page) < 3 * 300_000
    again = tmp_path / "again.html"
    run("analyze", "--source", traces, "--all", "--types", "resource", "--format", "html", "-o", again)
    assert again.read_text(encoding="utf-8") == page


def test_explain_prints_a_recommendation_in_full_and_draws_it(run, traces, tmp_path):
    given = ("--source", traces, "--all", "--types", "resource", "--validity", "3d")
    printed = tmp_path / "printed.json"
    run("analyze", *given, "--format", "json", "-o", printed)
    results = json.loads(printed.read_text(encoding="utf-8"))["results"]
    wanted = next(made for result in results for made in result["recommendations"])
    page = tmp_path / "page.html"
    done = run(
        *("explain", wanted["recommendation_id"], "--input", printed, "--html", page, "--source", traces)
    )
    assert done.exit_code == 0, done.output
    assert wanted["description"].split(" on ")[0] in " ".join(done.stdout.split())
    assert "No rule changed it or held it back." in done.stdout or "RULE" in done.stdout
    assert "recommended request" in page.read_text(encoding="utf-8")
    assert "trend and season of main cpu" in page.read_text(encoding="utf-8")
    assert "main cpu: trend" in done.stdout
    more = ("--source", traces, "--format", "json")
    shown = json.loads(run("explain", wanted["recommendation_id"], "--input", printed, *more).stdout)
    assert {one["metric"] for one in shown["history"]} == {"cpu_cores", "memory_bytes"}
    assert shown["history"][0]["step_seconds"] == 3600
    assert run("explain", "opt_none", "--input", printed).exit_code == 2


@pytest.mark.parametrize("form", ["table", "markdown", "html"])
def test_a_run_without_data_says_so_and_not_that_nothing_is_to_be_changed(run, traces, answers, form):
    answers(NO_DATA)
    shown = run("analyze", "--source", traces, "--all", "--types", "resource", "--format", form).stdout
    assert "Nothing could be analysed: 1 service without usable data" in shown
    assert "No change" not in shown


def test_strategies_that_all_abstain_recommend_nothing(run, traces, answers, result):
    answers(result("api", [], [DECLINED]))
    shown = run("analyze", "--source", traces, "--all").stdout
    assert "No recommendation: all strategies abstained for 1 service" in shown


def test_types_name_their_plugin_where_two_bring_one(run, traces, answers, recommendation, result):
    made = recommendation("web")
    other = msgspec.structs.replace(
        DECLINED, optimization_type=made.optimization_type, plugin="acme/sizes", reason="Not this one."
    )
    answers(result("web", [made]), result("db", [], [other]))
    shown = run("analyze", "--source", traces, "--all").stdout
    assert f"resource ({made.plugin.partition('/')[0]})" in shown
    assert "resource (acme)" in shown
    answers(result("web", [made]))
    assert "resource (" not in run("analyze", "--source", traces, "--all").stdout
