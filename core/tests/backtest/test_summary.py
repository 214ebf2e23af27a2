"""The accuracy figures on recommendations few enough to work out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.backtest import (
    EvaluatedRecommendation,
    ResourceUse,
    ServiceBacktest,
    make_schedule,
    report,
    summarise,
)
from perfopt.backtest.columns import PolicyColumns
from perfopt.backtest.report import worst_misses
from perfopt.backtest.summary import figures
from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.evaluation.savings import RequestedAmount

MADE = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def three(evaluated):
    return [
        evaluated("a", cpu=(1.5, 1.0), memory=(30.0, 10.0)),
        evaluated("b", cpu=(40.0, 2.0), memory=(10.0, 10.0)),
        evaluated("c", cpu=(1.0, 4.0), memory=(11.0, 10.0)),
    ]


def test_accuracy_and_waste_over_the_safe_ones_with_the_mean_clipped_at_ten(three):
    found = summarise(three)[0].all
    assert found.accuracy == pytest.approx(2 / 3, abs=1e-6)
    assert found.cpu.safe == pytest.approx(2 / 3, abs=1e-6)
    assert found.memory.safe == 1
    assert found.cpu.waste_median == (0.5 + 19) / 2
    assert found.cpu.waste_mean10 == (0.5 + 10) / 2
    assert found.memory.waste_median == pytest.approx(0.1)


def test_the_total_is_over_all_and_the_shortage_over_the_unsafe(three):
    found = summarise(three)[0].all
    assert found.cpu.weighted_waste == pytest.approx(42.5 / 7 - 1, abs=1e-6)
    assert found.cpu.shortage_median == 0.75
    assert found.memory.shortage_median is None


def test_slack_is_what_stands_unused(evaluated):
    found = summarise([evaluated(cpu=(2.0, 1.0, 0.5)), evaluated(cpu=(1.0, 1.0, 0.5))])[0].all
    assert found.cpu.slack == pytest.approx((0.75 + 0.5) / 2)
    assert found.memory.slack is None


def test_declined_and_not_scored_are_counted_apart(evaluated):
    summary = summarise(
        [
            evaluated("a", cpu=(1.0, 1.0)),
            evaluated("b", outcome="declined", code="short_history"),
            evaluated("c", outcome="declined", code="short_history"),
            evaluated("d", outcome="not_scored", reason="thin"),
        ]
    )[0]
    assert (summary.made, summary.not_scored, summary.all.scored) == (2, 1, 1)
    assert summary.not_scored_reasons == {"thin": 1}
    assert summary.declined == {"short_history": 2}
    assert summary.abstention == 0.5
    assert summary.all.accuracy == 1


def test_what_history_cannot_judge_is_noted_with_its_number_and_reason(evaluated):
    rows = [
        evaluated("a", cpu=(1.0, 1.0)),
        *(
            evaluated(
                name,
                policy="tuning/knobs",
                optimization_type=OptimizationType.PERFORMANCE_TUNING,
                outcome="not_scored",
                reason="the window measures nothing that is changed or claimed",
            )
            for name in "ab"
        ),
        evaluated("a", policy="current", outcome="not_scored", reason="thin"),
    ]
    schedule = make_schedule(MADE + timedelta(days=7), origins="1")
    workload = Workload(id=WorkloadId(name="a"), service_name="a", state=WorkloadState(containers=()))
    notes = report("here", "14d", [ServiceBacktest(workload, schedule, tuple(rows))]).notes
    assert [note for note in notes if "not scored" in note] == [
        "tuning/knobs: 2 of 2 are not scored: 2 times the window measures nothing that is changed or claimed."
        " Whether a runtime setting that changes no request or limit does well is seen only by applying it."
    ]


def test_terciles_are_by_load_and_the_same_for_all_policies(evaluated):
    levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rows = [evaluated(f"s{n}", cpu=(1.0, 1.0), level=level) for n, level in enumerate(levels)]
    rows += [evaluated("s0", cpu=(1.0, 2.0), level=0.1, policy="other")]
    ours, other = summarise(rows)
    assert [ours.terciles[name].scored for name in ("low", "middle", "high")] == [2, 2, 2]
    assert [other.terciles[name].scored for name in ("low", "middle", "high")] == [1, 0, 0]
    assert other.terciles["high"].accuracy is None


def test_classes_have_figures_of_their_own(evaluated):
    found = summarise(
        [evaluated("a", cpu=(1.0, 2.0), service_class="critical"), evaluated("b", cpu=(1.0, 1.0))]
    )[0].classes
    assert {name: one.accuracy for name, one in found.items()} == {"critical": 0, "standard": 1}


def costs(current, recommended, minimum):
    return RequestedAmount(current, recommended, minimum)


def test_realised_saving_is_what_the_accurate_save_over_what_all_could(evaluated):
    found = summarise(
        [
            evaluated("a", cpu=(1.0, 1.0), cost=costs(100.0, 40.0, 20.0)),
            evaluated("b", cpu=(1.0, 9.0), cost=costs(10.0, 1.0, 5.0)),  # inaccurate: it saves nothing
            evaluated("c", cpu=(1.0, 1.0), cost=costs(10.0, 12.0, 8.0)),
            evaluated("d", cpu=(1.0, 1.0)),  # its cost is not known
        ]
    )[0].all
    assert found.realised_saving == pytest.approx((60 - 2) / (80 + 5 + 2), abs=1e-6)
    assert found.realised_saving_by_service == pytest.approx((0.6 + 0 - 0.2) / (0.8 + 0.5 + 0.2), abs=1e-6)
    assert found.realised_memory_saving is None
    assert found.cost_over_minimum == pytest.approx(0.75)  # the median of 40 / 20 - 1 and 12 / 8 - 1


def test_each_service_weighs_the_same_however_many_origins_it_has(evaluated):
    found = summarise(
        [
            *(evaluated("a", cpu=(1.0, 1.0), week=k, memory_amount=costs(4.0, 2.0, 1.0)) for k in range(3)),
            evaluated("b", cpu=(1.0, 1.0), memory_amount=costs(8.0, 8.0, 4.0)),
        ]
    )[0].all
    assert found.realised_memory_saving == pytest.approx((0.5 + 0.0) / (0.75 + 0.5))


def test_a_service_drawn_twice_weighs_twice(evaluated):
    columns = PolicyColumns.of(
        [
            *(evaluated("a", cpu=(1.0, 1.0), week=k, cost=costs(4.0, 2.0, 1.0)) for k in range(3)),
            evaluated("b", cpu=(1.0, 1.0), cost=costs(8.0, 8.0, 4.0)),
        ]
    )
    drawn = np.array([0, 1, 2, 0, 1, 2, 3])
    assert columns.realised_saving_by_service(drawn) == pytest.approx((0.5 + 0.5) / (0.75 + 0.75 + 0.5))


def test_nothing_to_save_has_no_realised_saving(evaluated):
    found = summarise([evaluated("a", cpu=(1.0, 1.0), cost=costs(5.0, 5.0, 5.0))])[0].all
    assert (found.realised_saving, found.realised_saving_by_service) == (None, None)


def test_no_change_and_met_claims_are_shares_of_the_scored(evaluated):
    found = summarise(
        [
            evaluated("a", cpu=(1.0, 1.0), no_change=True, claim_met=True, expected_saving=0.0),
            evaluated("b", cpu=(1.0, 1.0), claim_met=False, expected_saving=0.5, confidence=0.9),
            evaluated("c", cpu=(1.0, 1.0), confidence=0.7),
            evaluated("d", outcome="not_scored", no_change=True),
        ]
    )[0].all
    assert found.no_change == pytest.approx(1 / 3, abs=1e-6)
    assert (found.claims_met, found.expected_saving, found.confidence) == (0.5, 0.25, 0.8)


def test_policies_stand_by_type_with_the_plan_last(evaluated):
    scaling = OptimizationType.SCALING_OPTIMIZATION
    rows = [
        evaluated("a", policy="plan", optimization_type=None, cpu=(1.0, 1.0)),
        evaluated("a", policy="resource/resource", cpu=(1.0, 1.0)),
        evaluated("a", policy="live", optimization_type=scaling, cpu=(1.0, 1.0)),
        evaluated("a", policy="max", cpu=(1.0, 1.0)),
    ]
    assert [(one.policy, one.baseline) for one in summarise(rows)] == [
        ("resource/resource", False),
        ("max", True),
        ("live", False),
        ("plan", False),
    ]


def test_the_worst_misses_are_the_largest_relative_shortages_one_a_service(evaluated):
    rows = [
        evaluated("a", cpu=(1.0, 2.0)),
        evaluated("a", cpu=(1.0, 8.0), week=1, confidence=0.9),
        evaluated("b", cpu=(2.0, 1.0), memory=(1.0, 5.0)),
        evaluated("c", cpu=(2.0, 1.0)),
        evaluated("d", cpu=(1.0, 99.0), policy="max"),
    ]
    first, second = worst_misses(rows, summarise(rows), dict.fromkeys("abcd", "7d"))
    assert (first.service, first.shortage, first.confidence) == ("a", 0.875, 0.9)
    assert (second.service, second.resource) == ("b", "memory")


def test_intervals_come_from_services_and_are_the_same_each_time(three, evaluated):
    once, again = summarise(three)[0].intervals, summarise(three)[0].intervals
    assert once == again
    assert once["accuracy"].low <= once["accuracy"].value <= once["accuracy"].high
    alone = summarise([evaluated("a", cpu=(1.0, 1.0)), evaluated("a", cpu=(1.0, 2.0), week=1)])[0]
    assert alone.intervals["accuracy"].low is None  # one service says nothing of others


uses = st.builds(
    lambda recommended, needed, used: ResourceUse(
        recommended >= needed, recommended, needed, min(used, needed)
    ),
    *[st.floats(0.01, 100)] * 3,
)


@given(st.lists(uses, min_size=1, max_size=30), st.randoms())
def test_figures_do_not_depend_on_the_order_and_stay_in_their_range(found, random):
    def of(given_uses):
        return figures(
            PolicyColumns.of(
                [
                    EvaluatedRecommendation(
                        service=str(use.needed),
                        service_class="standard",
                        made_at=np.datetime64(0, "s").item(),
                        policy="p",
                        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
                        outcome="accurate" if use.safe else "inaccurate",
                        cpu=use,
                    )
                    for use in given_uses
                ]
            )
        )

    shuffled = list(found)
    random.shuffle(shuffled)
    one, other = of(found), of(shuffled)
    assert one.accuracy == pytest.approx(other.accuracy)
    assert one.cpu.weighted_waste == pytest.approx(other.cpu.weighted_waste)
    assert 0 <= one.accuracy <= 1
    assert one.cpu.waste_mean10 is None or 0 <= one.cpu.waste_mean10 <= 10
    assert one.cpu.shortage_median is None or 0 < one.cpu.shortage_median < 1
    assert one.cpu.weighted_waste > -1


def test_services_that_move_together_count_as_one_in_intervals_and_are_named(evaluated):
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.3, 28)
    rows = [evaluated(f"s{number:02}", cpu=(1.0, 2.0 if number < 8 else 1.0)) for number in range(24)]

    def interval_of(together):
        results = [
            ServiceBacktest(
                Workload(
                    id=WorkloadId(name=row.service),
                    service_name=row.service,
                    state=WorkloadState(containers=()),
                ),
                make_schedule(MADE + timedelta(days=7), origins="1"),
                rows=(row,),
                peaks=dict(enumerate(shared if together and number < 8 else rng.normal(0, 0.3, 28))),
            )
            for number, row in enumerate(rows)
        ]
        found = report("traces", "14d", results)
        accuracy = found.policies[0].intervals["accuracy"]
        return accuracy.high - accuracy.low, found.notes

    apart, notes = interval_of(False)
    assert not any("move together" in note for note in notes)
    wide, notes = interval_of(True)
    assert wide > 1.2 * apart
    assert any(
        note.startswith("8 services move together by their daily peaks, in 1 group:") for note in notes
    )
