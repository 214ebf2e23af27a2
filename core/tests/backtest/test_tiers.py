"""Services that move together are seen as one."""

from datetime import timedelta

import numpy as np
import pytest

from perfopt.backtest.tiers import MIN_DAYS, daily_peaks, tiers
from perfopt.testing import make_snapshot

A_DAY = 288


def walk(seed, days=28, size=0.3):
    return np.random.default_rng(seed).normal(0, size, days)


def by_day(logs, first=20_000):
    return {first + number: float(value) for number, value in enumerate(logs)}


def test_a_tier_is_one_group_named_for_its_first_member():
    shared = walk(1)
    found = tiers({
        "b": by_day(shared + walk(2, size=0.02)),
        "a": by_day(0.5 * shared + 3 + walk(3, size=0.01)),
        "c": by_day(walk(4)),
    })  # fmt: skip
    assert found == {"a": "a", "b": "a", "c": "c"}


def test_groups_are_chains():
    one, other, third = walk(1), walk(2), walk(3)
    found = tiers({"x": by_day(one), "y": by_day(one + 0.4 * other), "z": by_day(one + 0.7 * other)})
    assert set(found.values()) == {"x"}
    assert set(tiers({"x": by_day(one), "y": by_day(third)}).values()) == {"x", "y"}


def test_quiet_weekends_make_no_tier():
    weekend = np.where(np.arange(28) % 7 >= 5, -2.0, 0.0)
    assert tiers({"a": by_day(weekend + walk(1)), "b": by_day(weekend + walk(2))}) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(("days", "together"), [(MIN_DAYS - 1, False), (MIN_DAYS, True)])
def test_few_common_days_tell_nothing(days, together):
    logs = walk(1, days=28)
    first, last = by_day(logs[:days]), by_day(logs[:days])
    assert (len(set(tiers({"a": first, "b": last}).values())) == 1) == together
    assert len(set(tiers({"a": by_day(logs), "b": by_day(logs, first=20_014 + 1)}).values())) == 2


def test_services_that_hardly_vary_are_apart():
    logs = walk(1, size=0.01)
    assert tiers({"a": by_day(logs), "b": by_day(logs)}) == {"a": "a", "b": "b"}
    assert tiers({}) == {}


def test_peaks_are_of_cpu_by_day_and_of_memory_without_it():
    cpu = np.concatenate([np.full(A_DAY, 0.2), np.full(A_DAY, 0.4)])
    memory = np.full(2 * A_DAY, 2.0**30)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": memory}})
    first = int(snapshot.grid.start.timestamp()) // 86_400
    assert daily_peaks(snapshot) == {first: pytest.approx(np.log(0.2)), first + 1: pytest.approx(np.log(0.4))}
    only_memory = make_snapshot({"main": {"memory_bytes": memory}})
    assert list(daily_peaks(only_memory).values()) == [pytest.approx(30 * np.log(2))] * 2
    assert daily_peaks(make_snapshot({"main": {}})) == {}


def test_a_day_without_samples_is_left_out():
    cpu = np.full(3 * A_DAY, 0.2)
    cpu[A_DAY : 2 * A_DAY] = np.nan
    snapshot = make_snapshot({"main": {"cpu_cores": cpu}})
    days = [day - int(snapshot.grid.start.timestamp()) // 86_400 for day in daily_peaks(snapshot)]
    assert days == [0, 2]
    assert timedelta(days=3) == snapshot.grid.end - snapshot.grid.start
