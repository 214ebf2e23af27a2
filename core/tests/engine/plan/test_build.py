"""From merged proposals to the plan that users see."""

import msgspec
import pytest
from proposals import (
    COST,
    LATENCY,
    LIMITED,
    MIB,
    RESOURCE,
    SCALED,
    SCALING,
    SMALLER,
    STATE,
    TUNING,
    Refusing,
    Wanting,
    analysed,
    by_type,
    codes,
    merged,
    steady,
)

from perfopt.domain.enums import Basis, DeclineCode
from perfopt.domain.record import StrategyRecord
from perfopt.domain.workload import Slo
from perfopt.engine.pipeline import run_strategy
from perfopt.plugin import Claim, Prior, decline
from perfopt.testing import make_context


def test_changes_of_different_fields_are_all_in_the_plan():
    smaller = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})
    limited = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})
    result = analysed(smaller, limited)
    assert result.plan.recommended_state["memory_request"] == "512Mi"
    assert result.plan.recommended_state["cpu_limit"] == "1500m"
    assert result.plan.conflicts == ()
    assert {kind: recommendation.conflicts for kind, recommendation in by_type(result).items()} == {
        RESOURCE: (),
        TUNING: (),
    }
    assert {step.optimization_type for step in result.plan.steps} == {RESOURCE, TUNING}
    recommendation = by_type(result)[RESOURCE]
    assert recommendation.recommended_state["cpu_limit"] == "2"  # its own change and nothing else


def test_a_single_recommendation_is_its_own_plan():
    result = analysed(Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}))
    (recommendation,) = result.recommendations
    assert result.plan.recommended_state == recommendation.recommended_state
    assert result.plan.evidence == recommendation.evidence
    assert result.plan.expected_improvement == recommendation.expected_improvement
    assert result.plan.steps[0].recommendation_id == recommendation.recommendation_id
    assert result.plan.steps[0].changes == {"main.cpu_request": "500m"}


def test_there_is_no_plan_where_nothing_is_to_be_changed():
    assert analysed(Wanting(RESOURCE)).plan is None
    assert analysed(Refusing(RESOURCE)).plan is None


def test_the_plan_is_as_sure_as_all_its_parts_together():
    one = Wanting(
        RESOURCE, quantities={"memory_request_bytes": 512 * MIB}, prior=Prior(mean=0.9, strength=10)
    )
    two = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5}, prior=Prior(mean=0.8, strength=5))
    detail = analysed(one, two).plan.confidence_detail
    assert detail.prior == pytest.approx(0.72)
    assert detail.prior_strength == 5


def test_the_confidence_of_a_plan_of_several_follows_what_plans_came_to():
    record = StrategyRecord(slope=1.0, intercept=-1.0, outcomes=40.0, accuracy=0.6, stated=0.9)
    outcomes = [(one, run_strategy(one, make_context(steady()))) for one in (SMALLER, LIMITED)]
    stated, mapped = (merged(*outcomes, record=one).plan for one in (None, record))
    sure = stated.expected_improvement.confidence
    assert mapped.expected_improvement.confidence == pytest.approx(record.recalibrated(sure), abs=1e-3)
    assert mapped.confidence_detail.before_record == sure
    assert mapped.confidence_detail.recorded_outcomes == 40.0
    alone = merged(outcomes[0], record=record).plan  # a plan of one is its recommendation
    assert alone.confidence_detail.before_record is None


def test_what_adds_capacity_is_applied_before_what_takes_it_away():
    more = Wanting(LATENCY, quantities={"cpu_request_cores": 1.5})
    less = Wanting(RESOURCE, quantities={"memory_request_bytes": 400 * MIB})
    knobs = Wanting(TUNING, state={"extra": {"knobs": {"main": {"GOMAXPROCS": "2"}}}})
    steps = analysed(less, knobs, more).plan.steps
    assert [step.optimization_type for step in steps] == [LATENCY, TUNING, RESOURCE]
    assert steps[1].changes == {"knobs.main.GOMAXPROCS": "2"}
    assert all(step.reason for step in steps)
    cheaper = Wanting(LATENCY, quantities={"memory_request_bytes": 400 * MIB})  # before TUNING by its name
    assert [step.optimization_type for step in analysed(cheaper, knobs).plan.steps] == [TUNING, LATENCY]


def test_a_plan_is_not_held_to_what_was_promised_of_changes_it_does_not_make():
    snapshot = steady(cpu=0.1, replicas=4.0)
    fewer = Wanting(
        COST,
        quantities={"cpu_request_cores": 0.85},
        state={"replicas": 2},
        claim=Claim(saving_percent=50.0),
        prior=Prior(mean=0.2, strength=50),
    )
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.2})
    result = analysed(fewer, smaller, snapshot=snapshot)
    assert result.plan.recommended_state["replicas"] == 4
    assert {window.outcome for window in result.plan.evidence.windows} == {"accurate"}
    assert {window.claim_kept for window in result.plan.evidence.windows} == {None}


def test_who_is_not_in_the_plan_does_not_make_it_less_sure():
    assumed = msgspec.structs.replace(STATE, basis=Basis.ASSUMED_FROM_LIMIT)
    declaring = Wanting(
        RESOURCE,
        quantities={"cpu_request_cores": 0.6},
        state={"basis": Basis.DECLARED},
        prior=Prior(mean=0.5, strength=50),
    )
    cheaper = Wanting(TUNING, quantities={"cpu_request_cores": 0.5})
    result = analysed(declaring, cheaper, snapshot=steady(state=assumed))
    (recommendation,) = result.recommendations
    assert recommendation.optimization_type is TUNING
    assert result.plan.confidence_detail == recommendation.confidence_detail


def test_why_a_step_stands_where_it_does_fits_the_steps_there_are():
    (alone,) = analysed(SMALLER).plan.steps
    assert alone.reason == "The only step."
    larger = {"cpu_request_cores": 1.5, "memory_request_bytes": 1200 * MIB}
    more = (Wanting(LATENCY, quantities=larger), Wanting(SCALING, state={"replicas": 6}))
    assert {step.reason for step in analysed(*more).plan.steps} == {
        "Adds capacity, which is safe at any time."
    }


def test_what_the_objective_needs_comes_first_even_before_what_adds_capacity():
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0)
    faster = Wanting(LATENCY, quantities={"cpu_limit_cores": 3.0}, claim=claim)
    larger = Wanting(RESOURCE, quantities={"memory_request_bytes": 1200 * MIB})
    snapshot = steady(slo=Slo(latency_ms=100.0), latency_p99_ms=140.0)
    first, second = analysed(larger, faster, snapshot=snapshot).plan.steps
    assert (first.optimization_type, second.optimization_type) == (LATENCY, RESOURCE)
    assert first.reason == "First: the declared objective needs it."
    assert second.reason == "Adds capacity, which is safe at any time."


@pytest.mark.parametrize(("replicas", "first"), [(5, SCALING), (3, TUNING)])
def test_where_costs_are_unknown_requested_cpu_orders_the_steps(replicas, first):
    unknown = msgspec.structs.replace(STATE.containers[0], memory_request_bytes=None)
    state = msgspec.structs.replace(STATE, containers=(unknown,))
    scaled = Wanting(SCALING, state={"replicas": replicas})
    limited = Wanting(TUNING, quantities={"cpu_limit_cores": 2.5})
    plan = analysed(scaled, limited, snapshot=steady(state=state)).plan
    assert plan.monthly_cost_current is None
    assert plan.steps[0].optimization_type is first


def test_what_a_part_needs_for_itself_is_in_its_own_step():
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.8})
    spread = Wanting(COST, state={"extra": {"node_type": "small"}})
    steps = analysed(smaller, spread, snapshot=steady(state=SCALED)).plan.steps
    changed = {step.optimization_type: set(step.changes) for step in steps}
    assert changed == {
        COST: {"node_type"},
        RESOURCE: {"main.cpu_request", "hpa.target_cpu_utilization_percent"},
    }
    before = Wanting(SCALING, quantities={"cpu_limit_cores": 1.2}, state={"replicas": 3})
    steps = analysed(smaller, before, snapshot=steady(state=SCALED)).plan.steps
    changed = {step.optimization_type: set(step.changes) for step in steps}
    assert "hpa.target_cpu_utilization_percent" in changed[RESOURCE]


def test_what_requests_rest_on_is_no_conflict():
    assumed = msgspec.structs.replace(STATE, basis=Basis.ASSUMED_FROM_LIMIT)
    declaring = Wanting(
        RESOURCE,
        quantities={"cpu_request_cores": 0.6},
        state={"basis": Basis.DECLARED},
        prior=Prior(mean=0.5, strength=50),
    )
    cheaper = Wanting(TUNING, quantities={"cpu_request_cores": 0.5})
    plan = analysed(declaring, cheaper, snapshot=steady(state=assumed)).plan
    assert {one.field for one in plan.conflicts} == {"main.cpu_request"}


def test_a_dependent_field_that_has_its_value_anyway_is_no_conflict():
    both = {"cpu_request_cores": 0.5, "cpu_limit_cores": 1.5}
    result = analysed(
        Wanting(RESOURCE, quantities={"cpu_request_cores": 0.6, "cpu_limit_cores": 1.5}),
        Wanting(TUNING, quantities=both, prior=Prior(mean=0.3, strength=50)),
    )
    assert codes(result) == {("main.cpu_request", "same_field", "performance_tuning/it")}


class Hesitating(Wanting):
    """Abstains on histories of less than ten days, as its replays have."""

    def propose(self, context):
        if context.snapshot.grid.size < 10 * 288:
            return decline(self.optimization_type, DeclineCode.SHORT_HISTORY, "Too early.")
        return super().propose(context)


def test_past_times_at_which_all_parts_would_have_abstained_are_no_misses():
    hesitating = [
        Hesitating(one.optimization_type, quantities=one.quantities, prior=one.prior)
        for one in (SMALLER, LIMITED)
    ]
    plan = analysed(*hesitating).plan
    outcomes = [window.outcome for window in plan.evidence.windows]
    assert set(outcomes) == {"declined"}
