"""How sentences are printed."""

from datetime import UTC, datetime

from perfopt_api.web.view import instant, prose, to_the_second


def test_instants_in_a_sentence_can_be_shown_in_the_zone_of_the_reader():
    at = datetime(2026, 11, 30, 21, 27, 42, 643000, tzinfo=UTC)
    assert prose("Until 2026-11-30T21:27:42.643Z, <then>.") == f"Until {instant(at)}, &lt;then&gt;."


def test_what_is_no_instant_stays_as_it_is():
    assert prose("2026-06-31T10:00Z and 2026-06-30") == "2026-06-31T10:00Z and 2026-06-30"


def test_code_is_set_apart_and_its_markup_stays_text():
    assert prose("See `policy.<b>`.") == "See <code>policy.&lt;b&gt;</code>."


def test_steps_of_a_change_are_shown_to_the_second():
    at = datetime(2026, 11, 30, 21, 27, 42, tzinfo=UTC)
    assert to_the_second(at) == (
        '<time datetime="2026-11-30T21:27:42+00:00" data-seconds>2026-11-30 21:27:42Z</time>'
    )
