import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.period import (
    AnalysisPeriod,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
    parse_validity,
)
from perfopt.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("14d", timedelta(days=14)),
        ("24h", timedelta(hours=24)),
        ("1w", timedelta(days=7)),
        ("1h30m", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("P14D", timedelta(days=14)),
        ("P2W", timedelta(days=14)),
        ("PT6H", timedelta(hours=6)),
        ("P1DT12H", timedelta(hours=36)),
        ("PT0.5S", timedelta(milliseconds=500)),
        (" 14d ", timedelta(days=14)),
    ],
)
def test_durations_in_both_styles(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    ["", "14", "d", "14 d", "1d1w", "P", "PT", "P1Y", "P1M", "-1d", "0d", "11y", "1.5d", "𝟙d"],
)
def test_a_malformed_duration_names_the_field_and_the_remedy(text):
    with pytest.raises(InvalidInputError) as caught:
        parse_duration(text, field="validity")
    assert caught.value.field == "validity"
    assert caught.value.remedy


@given(st.integers(min_value=1, max_value=3660 * 86_400_000 - 1))
def test_a_printed_duration_reads_back_as_itself(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=60))
def test_any_text_is_a_period_or_a_clear_error(text):
    with contextlib.suppress(InvalidInputError):
        assert AnalysisPeriod.parse(text).length > timedelta(0)


def test_a_period_with_both_ends():
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC)
    expected = AnalysisPeriod(end - start, end)
    assert AnalysisPeriod.parse("2026-11-01T00:00:00Z/2026-11-15T00:00:00Z") == expected
    assert AnalysisPeriod.parse("2026-11-01T01:00:00+01:00/P14D") == expected
    assert AnalysisPeriod.parse("P14D/2026-11-15T00:00:00Z") == expected
    assert AnalysisPeriod.parse("14d") == AnalysisPeriod(end - start, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-15T00:00:00Z/2026-11-01T00:00:00Z", "ends before it starts"),
        ("2026-11-01/2026-11-15", "names no time zone"),
        ("2026-11-01T00:00:00Z/", "is not an instant"),
        ("P14D/P14D", "is not an instant"),
        ("1999-12-31T00:00:00Z/P14D", "is not within 2000 and 2100"),
        ("2099-12-31T00:00:00Z/P14D", "is not within 2000 and 2100"),
        ("P14D/2101-01-01T00:00:00Z", "is not within 2000 and 2100"),
        ("P14D/0001-01-01T00:00:00+01:00", "is not an instant"),
        ("401d", "is out of range"),
        ("2020-01-01T00:00:00Z/2026-01-01T00:00:00Z", "is out of range"),
    ],
)
def test_a_wrong_pair_of_ends_is_explained(text, says):
    with pytest.raises(InvalidInputError, match=says):
        AnalysisPeriod.parse(text)


def test_400_days_are_a_period_and_a_validity():
    assert AnalysisPeriod.parse("400d").length == parse_validity("400d") == timedelta(days=400)
    with pytest.raises(InvalidInputError, match="is out of range"):
        parse_validity("401d")


def test_instants_are_utc_and_naive_ones_are_refused():
    assert parse_instant("2026-11-23T11:00:00+01:00") == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert parse_instant("2026-11-23T11:00:00+01:00").utcoffset() == timedelta(0)
    with pytest.raises(InvalidInputError, match=r"until: '2026-11-23T10:00:00' names no time zone\. Add Z"):
        parse_instant("2026-11-23T10:00:00", field="until")
    assert format_instant(datetime(2025, 6, 21, 10, tzinfo=UTC)) == "2025-06-21T10:00:00.000Z"
