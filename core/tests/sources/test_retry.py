"""When a request is tried again, and how long that goes on."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from perfopt.sources.retry import RetryPolicy


def waits(retries, count, after=None):
    return [retries.wait_after("HTTP 503", after) for _ in range(count)]


def test_so_many_attempts_follow_the_first_with_growing_random_waits():
    found = waits(RetryPolicy(3), 4)
    assert found[3] is None
    assert all(0 <= wait <= 0.25 * 2**n for n, wait in enumerate(found[:3]))


def test_within_a_budget_attempts_go_on():
    retries = RetryPolicy(0, budget_seconds=30.0)
    found = []
    while (wait := retries.wait_after("HTTP 503")) is not None:
        found.append(wait)
    assert 22 <= sum(found) <= 30
    assert max(found) <= 8.0


def test_the_server_may_name_an_instant():
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 20 <= RetryPolicy(3).wait_after("HTTP 429", at) <= 30


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("-3", 0, 0),
        ("86400", 60, 60),
        ("Mon, 30 Nov 2020 05:38:20 GMT", 0, 0),
        ("soon", 0, 0.25),
        (None, 0, 0.25),
    ],
)
def test_the_server_may_name_the_wait(header, least, most):
    wait = RetryPolicy(3).wait_after("HTTP 429", header)
    assert least <= wait <= most


def test_a_long_wait_that_the_budget_does_not_hold_is_the_end():
    assert RetryPolicy(0, budget_seconds=10.0).wait_after("HTTP 429", "30") is None


def test_the_summary_names_each_failure_once():
    retries = RetryPolicy(2)
    for failure in ("no answer within 5 s", "HTTP 503", "HTTP 503"):
        retries.wait_after(failure)
    assert retries.summary().startswith("no answer within 5 s, HTTP 503. Tried 3 times in ")
