from datetime import UTC, datetime, timedelta

import pytest

from perfopt.backtest import ScheduleRequest, make_schedule
from perfopt.errors import InvalidInputError

WEEK = timedelta(days=7)
END = datetime(2026, 3, 30, tzinfo=UTC)


def test_without_a_begin_the_last_four_origins_a_validity_apart_are_taken():
    schedule = make_schedule(END)
    assert schedule.origins == tuple(END - k * WEEK for k in (4, 3, 2, 1))
    assert (schedule.start, schedule.end) == (schedule.origins[0] - 2 * WEEK, END)


def test_a_number_asks_for_so_many_origins_and_a_stride_for_their_distance():
    assert len(make_schedule(END, origins="10").origins) == 10
    daily = make_schedule(END, origins="1d").origins
    assert daily[-1] == END - WEEK
    assert daily[1] - daily[0] == timedelta(days=1)


def test_from_a_begin_origins_fill_what_has_history_before_and_a_window_after():
    begin = END - timedelta(days=40)
    origins = make_schedule(END, begin=begin, origins="7d").origins
    assert origins[0] == begin + 2 * WEEK
    assert origins[-1] + WEEK <= END < origins[-1] + 2 * WEEK


def test_a_number_of_origins_from_a_begin_is_spread_over_all_of_it():
    begin = END - timedelta(days=41)
    origins = make_schedule(END, begin=begin, origins="3").origins
    assert origins == (begin + 2 * WEEK, begin + 2 * WEEK + timedelta(days=10), END - WEEK)
    assert make_schedule(END, begin=begin, origins="1").origins == (END - WEEK,)


def test_a_history_that_does_not_fit_is_an_error_with_the_lengths():
    with pytest.raises(
        InvalidInputError, match=r"there are 20d, which do not hold a history of 14d and a .* 7d"
    ):
        make_schedule(END, begin=END - timedelta(days=20))


@pytest.mark.parametrize(
    ("origins", "message"), [("0", "out of range"), ("often", "not a duration"), ("1s", "most")]
)
def test_a_malformed_stride_is_refused(origins, message):
    with pytest.raises(InvalidInputError, match=message):
        make_schedule(END, begin=END - timedelta(days=60), origins=origins)


def days(number):
    return timedelta(days=number)


def test_a_service_has_the_last_origins_that_its_own_samples_allow():
    schedule = ScheduleRequest().for_extent(END - days(20), END)
    assert schedule.origins == (
        END - 2 * WEEK,
        END - WEEK,
    )  # a third would have less than 3/7 of 7 days before it
    assert (schedule.history, schedule.validity) == (2 * WEEK, WEEK)
    assert len(ScheduleRequest().for_extent(END - days(200), END).origins) == 4


@pytest.mark.parametrize(("history", "validity"), [(days(10), WEEK), (days(9), timedelta(hours=64))])
def test_data_of_less_than_ten_days_have_three_tenths_of_them_as_validity(history, validity):
    assert ScheduleRequest().for_extent(END - history, END).validity == validity


def test_twenty_hours_have_two_origins_six_hours_apart():
    schedule = ScheduleRequest().for_extent(END - timedelta(hours=20), END)
    assert schedule.origins == (END - timedelta(hours=12), END - timedelta(hours=6))


def test_a_validity_that_was_asked_for_is_not_shortened():
    with pytest.raises(InvalidInputError, match=r"too few for a validity of 7d"):
        ScheduleRequest(validity=WEEK).for_extent(END - days(9), END)
    assert ScheduleRequest(validity=WEEK).for_extent(END - days(10), END).origins == (END - WEEK,)


def test_a_begin_and_an_end_that_were_asked_for_hold_for_every_service():
    request = ScheduleRequest(begin=END - days(40), until=END - days(10), validity=WEEK)
    schedule = request.for_extent(END - days(400), END)
    assert (schedule.start, schedule.end) == (END - days(40), END - days(12))
    assert request.for_extent(END - days(400), END - days(15)).end == END - days(19)


@pytest.mark.parametrize("origins", ["0", "-1", "99999999999", "abc"])
def test_a_wrong_number_of_origins_names_the_option(origins):
    with pytest.raises(InvalidInputError) as caught:
        make_schedule(END, origins=origins)
    assert caught.value.field == "origins"
