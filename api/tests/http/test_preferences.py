"""The header Prefer: waits are found among other preferences, and nothing in it ever fails."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_api.http.preferences import preferred_wait

MOST = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=10"], 10),
        (["Wait = 10"], 10),
        (['wait="10"'], 10),
        (["respond-async, wait=10"], 10),
        (["handling=lenient", "wait=10; foo"], 10),
        (["wait=3, wait=9"], 3),
        (["wait=0"], 0),
        (["wait=61"], 60),
        (["wait=99999999999999"], None),
        (["await=10"], None),
        ([], None),
    ],
)
def test_the_wait_is_found_and_bounded(headers, seconds):
    assert preferred_wait(headers, MOST) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.lists(st.text()))
def test_anything_else_is_ignored(headers):
    found = preferred_wait(headers, MOST)
    assert found is None or timedelta(0) <= found <= MOST
