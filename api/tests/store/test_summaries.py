"""What the row of a workload says limits it."""

from datetime import UTC, datetime

from msgspec.structs import replace

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, Reason
from perfopt.domain.rules import FiredRule
from perfopt.testing import make_recommendation
from perfopt_api.store.summaries import owners_of, summary_of

NOW = datetime(2026, 11, 30, tzinfo=UTC)
OTHER = Declined(
    optimization_type=OptimizationType.PERFORMANCE_TUNING,
    code=DeclineCode.UNKNOWN_STATE,
    reason="The runtime is unknown.",
    plugin="tuning/rules",
)
BOUND = Reason(code="memory_limit_kept", text="The limit stays.")


def limit(*made, declined=(OTHER,)):
    workload = "shop/deployment/api"
    result = AnalysisResult(
        service_name="api", workload=workload, recommendations=made, declined=declined, warnings=()
    )
    row = summary_of(result, NOW)
    return row["status"], row["limit_code"], row["limit_reason"]


def change(**changes):
    states = {
        "current_state": {"replicas": 2, "containers": {"app": {"cpu_request": "1"}}},
        "recommended_state": {"replicas": 2, "containers": {"app": {"cpu_request": "500m"}}},
    }
    return replace(make_recommendation(**states), **changes)


def test_a_change_is_not_limited_by_what_another_type_lacks():
    assert limit(change(reasons=())) == ("change", None, None)


def test_a_change_is_limited_by_a_bound_of_its_own():
    assert limit(change(reasons=(BOUND,))) == ("change", "memory_limit_kept", "The limit stays.")


def test_a_rule_comes_before_a_bound_and_one_that_asks_before_one_that_caps():
    cap = FiredRule(pack="floors", rule="least", version="1", action="cap", reason="At least 10m.")
    ask = replace(cap, pack="budget", rule="large", action="require_approval", reason="It is large.")
    assert limit(change(reasons=(BOUND,), rules=(cap,)))[1:] == ("floors/least", "At least 10m.")
    assert limit(change(reasons=(BOUND,), rules=(cap, ask)))[1:] == ("budget/large", "It is large.")


def test_nothing_to_recommend_says_why():
    assert limit() == ("abstained", "unknown_state", "The runtime is unknown.")


def test_owners_are_named_and_one_that_is_off_is_none():
    assert owners_of({"hpa": {"max_replicas": 4}, "vpa_mode": "Off"}) == ("HPA",)
    assert owners_of({"vpa_mode": "Auto", "keda": "queue", "hpa": None}) == ("KEDA", "VPA")
