"""The figures of DESIGN.md section 5 on trials small enough to work out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.backtest import Trial, Use, summarise
from perfopt.backtest.columns import Columns
from perfopt.backtest.report import worst_misses
from perfopt.backtest.summary import figures


@pytest.fixture
def three(trial):
    return [
        trial("a", cpu=(1.5, 1.0), memory=(30.0, 10.0)),
        trial("b", cpu=(40.0, 2.0), memory=(10.0, 10.0)),
        trial("c", cpu=(1.0, 4.0), memory=(11.0, 10.0)),
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


def test_slack_is_what_stands_unused(trial):
    found = summarise([trial(cpu=(2.0, 1.0, 0.5)), trial(cpu=(1.0, 1.0, 0.5))])[0].all
    assert found.cpu.slack == pytest.approx((0.75 + 0.5) / 2)
    assert found.memory.slack is None


def test_declined_and_not_scored_are_counted_apart(trial):
    summary = summarise(
        [
            trial("a", cpu=(1.0, 1.0)),
            trial("b", outcome="declined", code="short_history"),
            trial("c", outcome="declined", code="short_history"),
            trial("d", outcome="not_scored", reason="thin"),
        ]
    )[0]
    assert (summary.made, summary.not_scored, summary.all.scored) == (2, 1, 1)
    assert summary.declined == {"short_history": 2}
    assert summary.abstention == 0.5
    assert summary.all.accuracy == 1


def test_terciles_are_by_load_and_the_same_for_all_policies(trial):
    levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    trials = [trial(f"s{n}", cpu=(1.0, 1.0), level=level) for n, level in enumerate(levels)]
    trials += [trial("s0", cpu=(1.0, 2.0), level=0.1, policy="other")]
    ours, other = summarise(trials)
    assert [ours.terciles[name].scored for name in ("low", "middle", "high")] == [2, 2, 2]
    assert [other.terciles[name].scored for name in ("low", "middle", "high")] == [1, 0, 0]
    assert other.terciles["high"].accuracy is None


def test_classes_have_figures_of_their_own(trial):
    found = summarise([trial("a", cpu=(1.0, 2.0), service_class="critical"), trial("b", cpu=(1.0, 1.0))])[
        0
    ].classes
    assert {name: one.accuracy for name, one in found.items()} == {"critical": 0, "standard": 1}


def test_a_saving_is_kept_when_no_more_than_ten_points_are_lost(trial):
    found = summarise(
        [
            trial("a", cpu=(1.0, 1.0), claimed_saving=0.5, realised_saving=0.5),
            trial("b", cpu=(1.0, 1.05), claimed_saving=0.5, realised_saving=0.41),
            trial("c", cpu=(1.0, 9.0), claimed_saving=0.8, realised_saving=-1.0),
            trial("d", cpu=(1.0, 1.0)),
        ]
    )[0].all
    assert found.claimed_saving == pytest.approx(0.6)
    assert found.realised_saving == pytest.approx(-0.03)
    assert found.saving_kept == pytest.approx(2 / 3, abs=1e-6)


def test_the_worst_misses_are_the_largest_relative_shortages_one_a_service(trial):
    trials = [
        trial("a", cpu=(1.0, 2.0)),
        trial("a", cpu=(1.0, 8.0), week=1, confidence=0.9),
        trial("b", cpu=(2.0, 1.0), memory=(1.0, 5.0)),
        trial("c", cpu=(2.0, 1.0)),
        trial("d", cpu=(1.0, 99.0), policy="other"),
    ]
    first, second = worst_misses(trials, "p")
    assert (first.service, first.shortage, first.confidence) == ("a", 0.875, 0.9)
    assert (second.service, second.resource) == ("b", "memory")


def test_intervals_come_from_services_and_are_the_same_each_time(three, trial):
    once, again = summarise(three)[0].intervals, summarise(three)[0].intervals
    assert once == again
    assert once["accuracy"].low <= once["accuracy"].value <= once["accuracy"].high
    alone = summarise([trial("a", cpu=(1.0, 1.0)), trial("a", cpu=(1.0, 2.0), week=1)])[0]
    assert alone.intervals["accuracy"].low is None  # one service says nothing of others


uses = st.builds(
    lambda recommended, needed, used: Use(recommended >= needed, recommended, needed, min(used, needed)),
    *[st.floats(0.01, 100)] * 3,
)


@given(st.lists(uses, min_size=1, max_size=30), st.randoms())
def test_figures_do_not_depend_on_the_order_and_stay_in_their_range(found, random):
    def of(given_uses):
        return figures(
            Columns.of(
                [
                    Trial(
                        service=str(use.needed),
                        service_class="standard",
                        made_at=np.datetime64(0, "s").item(),
                        policy="p",
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
