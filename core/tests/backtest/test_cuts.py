from datetime import UTC, datetime, timedelta

import pytest

from perfopt.backtest import make_plan
from perfopt.errors import InvalidInputError

WEEK = timedelta(days=7)
END = datetime(2026, 3, 30, tzinfo=UTC)


def test_without_a_begin_the_last_four_cuts_a_validity_apart_are_taken():
    plan = make_plan(END)
    assert plan.cuts == tuple(END - k * WEEK for k in (4, 3, 2, 1))
    assert (plan.start, plan.end) == (plan.cuts[0] - 2 * WEEK, END)


def test_a_number_asks_for_so_many_cuts_and_a_stride_for_their_distance():
    assert len(make_plan(END, cuts="10").cuts) == 10
    daily = make_plan(END, cuts="1d").cuts
    assert daily[-1] == END - WEEK
    assert daily[1] - daily[0] == timedelta(days=1)


def test_from_a_begin_cuts_fill_what_has_history_before_and_a_window_after():
    begin = END - timedelta(days=40)
    cuts = make_plan(END, begin=begin, cuts="7d").cuts
    assert cuts[0] == begin + 2 * WEEK
    assert cuts[-1] + WEEK <= END < cuts[-1] + 2 * WEEK


def test_a_number_of_cuts_from_a_begin_is_spread_over_all_of_it():
    begin = END - timedelta(days=41)
    cuts = make_plan(END, begin=begin, cuts="3").cuts
    assert cuts == (begin + 2 * WEEK, begin + 2 * WEEK + timedelta(days=10), END - WEEK)
    assert make_plan(END, begin=begin, cuts="1").cuts == (END - WEEK,)


def test_a_history_that_does_not_fit_is_said_with_the_lengths():
    with pytest.raises(
        InvalidInputError, match=r"there are 20d, which do not hold a history of 14d and a .* 7d"
    ):
        make_plan(END, begin=END - timedelta(days=20))


@pytest.mark.parametrize(
    ("cuts", "said"), [("0", "out of range"), ("often", "not a duration"), ("1s", "most")]
)
def test_nonsense_for_cuts_is_refused(cuts, said):
    with pytest.raises(InvalidInputError, match=said):
        make_plan(END, begin=END - timedelta(days=60), cuts=cuts)
