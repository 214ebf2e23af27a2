import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import yaml

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import (
    AnalysisWarning,
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


@pytest.fixture
def fleet(answers, recommendation, result):
    return answers(
        result("web", [recommendation("web")], [DECLINED]),
        result("db", [recommendation("db", already_right=True)], [DECLINED]),
        result("api", [], [DECLINED], [AnalysisWarning(code="short_history", message="2d of history.")]),
    )


def test_ndjson_is_a_recommendation_or_a_decline_a_line(run, traces, fleet):
    done = run("analyze", "--source", traces, "--all", "--format", "ndjson")
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["service_name"] for line in lines] == ["web", "web", "db", "db", "api"]
    made = msgspec.convert(lines[0], OptimizationRecommendation)
    assert list(lines[0])[:7] == [
        "recommendation_id",
        "service_name",
        "optimization_type",
        "description",
        "current_state",
        "recommended_state",
        "expected_improvement",
    ]
    assert made.recommended_state["cpu_request"] == "300m"
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


def test_the_table_shows_what_changes_and_what_it_is_worth(run, traces, fleet):
    done = run("analyze", "--source", traces, "--all")
    assert done.exit_code == 0
    assert done.stdout == (
        "SERVICE  TYPE                      CPU REQUEST  MEMORY REQUEST  CPU LIMIT  MEMORY LIMIT"
        "  COST/MONTH                   CONFIDENCE  REPLAY\n"
        "web      resource                  2 -> 300m    1Gi             2          -"
        "             100.00 -> 37.60 EUR (-62 %)        0.87  2 of 3 accurate\n"
        "db       resource (already right)  2            1Gi             2          -"
        "             100.00 EUR                         0.87  2 of 3 accurate\n"
        "\n"
        "NO RECOMMENDATION FOR  TYPE  CODE         REASON\n"
        "web and 2 more         cost  no_strategy  No installed plugin makes COST_OPTIMIZATION.\n"
        "\n"
        "Warning: api: 2d of history. (short_history)\n"
    )


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


def test_a_service_without_samples_is_declined_in_a_fleet_and_no_failure(run, traces, answers):
    answers(NO_DATA)
    done = run("analyze", "--source", traces, "--all", "--types", "resource", "--format", "ndjson")
    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "service_name": "idle",
            "optimization_type": "RESOURCE_OPTIMIZATION",
            "declined": {"code": "no_data", "reason": "idle has no samples."},
        }
    ]


@pytest.mark.parametrize("form", ["ndjson", "json", "yaml", "table"])
def test_a_failing_service_is_reported_and_costs_the_exit_code_only(
    run, traces, answers, result, recommendation, form
):
    answers(BROKEN, result("web", [recommendation("web")]))
    done = run("analyze", "--source", traces, "--all", "--format", form)
    assert done.exit_code == 1
    assert done.stderr == "Error: idle: The server did not answer. Try again later.\n"
    assert "source_unavailable" in done.stdout or "Failed: idle: The server did not answer." in done.stdout
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
    rows = [line.split(maxsplit=2) for line in shown.splitlines() if "no_data" in line]
    assert [row[:2] for row in rows] == [["gone", "all"], ["idle", "resource,"]]
