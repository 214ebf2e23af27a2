import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import Conflict, Plan, PlanStep
from perfopt.domain.rules import TimeWindow

RESOURCE, SCALING = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.SCALING_OPTIMIZATION


def with_plan(result, steps, conflicts=()):
    recommendation = result.recommendations[0]
    plan = Plan(
        description="Set main.cpu_request from 500m to 300m, for the next 7 days.",
        current_state={
            "containers": {"main": {"cpu_request": "500m"}},
            "replicas": 2,
            "hpa": {"min_replicas": 2, "max_replicas": 8},
        },
        recommended_state={
            "containers": {"main": {"cpu_request": "300m"}},
            "replicas": 2,
            "hpa": {"min_replicas": 3, "max_replicas": 8},
        },
        expected_improvement=recommendation.expected_improvement,
        confidence_detail=recommendation.confidence_detail,
        evidence=recommendation.evidence,
        price_book="book",
        currency="USD",
        monthly_cost_current=20.0,
        monthly_cost_recommended=15.0,
        steps=tuple(
            PlanStep(
                recommendation_id=recommendation.recommendation_id,
                optimization_type=kind,
                changes=changes,
                reason="It comes in this order.",
            )
            for kind, changes in steps
        ),
        conflicts=conflicts,
    )
    return msgspec.structs.replace(result, plan=plan)


LOST = Conflict(
    field="main.cpu_request",
    code="same_field",
    wanted="200m",
    kept="300m",
    lost_by="cost/cost",
    lost_by_type=OptimizationType.COST_OPTIMIZATION,
    won_by="resource/resource",
    won_by_type=RESOURCE,
    reason="resource/resource is worth more.",
)


@pytest.fixture
def planned(answers, recommendation, result):
    steps = [(SCALING, {"hpa.min_replicas": 3}), (RESOURCE, {"main.cpu_request": "300m"})]
    answers(with_plan(result("web", [recommendation("web")]), steps, (LOST,)))


def test_table_shows_the_plan_and_a_line_for_each_rejected_proposal(run, traces, planned):
    lines = run("analyze", "--source", traces, "--all").stdout.splitlines()
    assert "20.00 → 15.00 (-25 %)" in lines[2]
    (lost,) = [line for line in lines if line.startswith("rejected")]
    assert lost.split()[1:] == [
        *("cost", "web", "same_field:", "main.cpu_request", "200m:"),
        *("resource/resource", "is", "worth", "more."),
    ]


def test_verbose_shows_steps_in_their_order(run, traces, planned):
    shown = run("analyze", "--source", traces, "--all", "--verbose").stdout
    steps = [line.split() for line in shown.splitlines() if "It comes in this order." in line]
    assert [row[1:3] for row in steps] == [["1.", "scaling:"], ["2.", "resource:"]]


def test_json_has_the_plan_under_the_ids_of_the_run(run, traces, planned):
    done = run("analyze", "--source", traces, "--all", "--format", "json")
    (found,) = json.loads(done.stdout)["results"]
    ids = {step["recommendation_id"] for step in found["plan"]["steps"]}
    assert ids == {found["recommendations"][0]["recommendation_id"]}
    assert found["plan"]["conflicts"][0]["kept"] == "300m"


def test_settings_of_the_workload_are_rows(run, traces, answers, recommendation, result):
    made = recommendation("web")
    knobs = {"knobs": {"main": {"GOMAXPROCS": "2"}}, "schedule": [{}, {}], "replicas": 3}
    answers(result("web", [msgspec.structs.replace(made, recommended_state=made.recommended_state | knobs)]))
    rows = [line.split() for line in run("analyze", "--source", traces, "--all").stdout.splitlines()]
    assert ["▲", "replicas", "1", "→", "3"] in rows
    assert ["●", "main", "GOMAXPROCS", "-", "→", "2"] in rows
    assert ["●", "schedule", "-", "→", "2", "entries"] in rows


def test_a_new_autoscaler_is_one_row(run, traces, answers, recommendation, result):
    made = recommendation("web")
    hpa = {"hpa": {"min_replicas": 3, "max_replicas": 15, "target_cpu_utilization_percent": 43}}
    answers(result("web", [msgspec.structs.replace(made, recommended_state=made.recommended_state | hpa)]))
    shown = run("analyze", "--source", traces, "--all").stdout
    assert "- → 3-15 at 43% cpu" in shown
    assert shown.count("hpa") == 0


def test_the_table_says_what_waits_for_approval_or_a_window(run, traces, answers, recommendation, result):
    start = datetime(2026, 11, 24, 1, tzinfo=UTC)
    window = TimeWindow(start=start, end=start + timedelta(hours=4))
    steps = [(SCALING, {"hpa.min_replicas": 3}), (RESOURCE, {"main.cpu_request": "300m"})]
    made = msgspec.structs.replace(recommendation("web"), requires_approval=True)
    planned = with_plan(result("web", [made]), steps)
    asked = {"requires_approval": True, "not_before": start, "allowed_windows": (window, window)}
    answers(msgspec.structs.replace(planned, plan=msgspec.structs.replace(planned.plan, **asked)))
    shown = run("analyze", "--source", traces, "--all").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("apply")]
    assert line.split("web")[1].strip() == "after approval, from 2026-11-24 01:00 UTC (1 more window)"
