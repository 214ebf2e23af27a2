"""Directions, ranges and steps of values."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.quantity import parse_quantity
from perfopt_api.policy.settings import PolicySettings, SizeRange, WeeklyWindow
from perfopt_api.policy.sizes import directions_of, lowered_memory, out_of_range, stepped

CPU, MEMORY, LIMIT = "containers.a.cpu_request", "containers.a.memory_request", "containers.a.memory_limit"


@pytest.mark.parametrize(
    ("before", "after", "ways"),
    [
        ({CPU: "1"}, {CPU: "2"}, {"up"}),
        ({CPU: "1"}, {CPU: "500m"}, {"down"}),
        ({CPU: "1", MEMORY: "1Gi"}, {CPU: "2", MEMORY: "512Mi"}, {"up", "down"}),
        ({CPU: "1"}, {CPU: "1000m"}, set()),
        ({LIMIT: "1Gi"}, {LIMIT: None}, {"up"}),
        ({}, {LIMIT: "1Gi"}, {"down"}),
        ({}, {CPU: "1"}, {"up"}),
        ({CPU: "1"}, {CPU: None}, {"down"}),
        ({"replicas": 3}, {"replicas": 2}, {"down"}),
        ({}, {"env.a.X": "1"}, set()),
    ],
)
def test_directions(before, after, ways):
    assert directions_of(before, after) == ways


def test_lowered_memory_is_the_lowest_of_request_and_limit():
    assert lowered_memory({MEMORY: "2Gi", LIMIT: "4Gi"}, {MEMORY: "1Gi", LIMIT: "3Gi"}) == {"a": 2**30}
    assert lowered_memory({}, {LIMIT: "1Gi"}) == {"a": 2**30}
    assert lowered_memory({MEMORY: "1Gi"}, {MEMORY: "2Gi"}) == {}
    assert lowered_memory({LIMIT: "1Gi"}, {LIMIT: None}) == {}


def test_a_value_outside_its_range_is_named():
    bounds = SizeRange(cpu_max="2", memory_min="256Mi", replicas_max=5)
    assert out_of_range({CPU: "2", MEMORY: "256Mi", "replicas": 5}, bounds) is None
    assert "above the allowed 2" in out_of_range({CPU: "2001m"}, bounds)
    assert "below the allowed 256Mi" in out_of_range({LIMIT: "255Mi"}, bounds)
    assert "above the allowed 5" in out_of_range({"hpa.max_replicas": 6}, bounds)


def test_a_change_within_the_largest_step_is_one():
    assert stepped({CPU: "1"}, {CPU: "500m"}, PolicySettings()) == ({CPU: "500m"},)


def test_a_larger_one_is_several_and_what_is_there_already_moves_no_more():
    steps = stepped({CPU: "1", MEMORY: "1Gi"}, {CPU: "100m", MEMORY: "900Mi"}, PolicySettings())
    assert [step[CPU] for step in steps] == ["500m", "250m", "125m", "100m"]
    assert {step[MEMORY] for step in steps} == {"900Mi"}
    assert [step["replicas"] for step in stepped({"replicas": 5}, {"replicas": 1}, PolicySettings())] == [
        3,
        2,
        1,
    ]
    assert [step[CPU] for step in stepped({CPU: "1"}, {CPU: "9"}, PolicySettings())] == ["4", "9"]


@given(st.integers(1, 64_000), st.integers(1, 64_000))
def test_no_step_goes_further_than_the_largest(old, new):
    settings = PolicySettings()
    sizes = [
        old,
        *(int(parse_quantity(s[CPU]) * 1000) for s in stepped({CPU: f"{old}m"}, {CPU: f"{new}m"}, settings)),
    ]
    assert sizes[-1] == new
    for before, after in itertools.pairwise(sizes):
        assert after >= before * (1 - settings.largest_step_down) - 1
        assert after <= before * settings.largest_step_up + 1


@pytest.mark.parametrize(
    "text", ["", "mon", "xyz 10:00-11:00", "mon 25:00-26:00", "mon 10:61-11:00", "10-11"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match=r"window|day|time"):
        PolicySettings(windows=(text,))


def test_a_window_may_go_over_the_end_of_the_week():
    assert WeeklyWindow.parse("sat-mon 22:00-04:00").days == {5, 6, 0}
