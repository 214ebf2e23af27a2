"""Which changes keep a budget: those of least risk, no fewer and no more than are needed."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perfopt.domain.price import NodeType, PriceBook
from perfopt.fleet import NodeBudget, PodGroup, WorkloadStates, fleet_view, pack
from perfopt.fleet.budget import ChangeOption, NoTimeError, least_risk

GIB = 2**30
SMALL = NodeType(name="small", cores=2, memory_bytes=8 * GIB, price_hour=0.10)
LARGE = NodeType(name="large", cores=8, memory_bytes=32 * GIB, price_hour=0.38)


def option(cpu, gib, count, share, risk, settled=False):
    """A workload that needs `share` of its cpu and memory once it is changed."""
    before, after = (
        PodGroup(workload="w", cpu_cores=cpu * part, memory_bytes=gib * part * GIB, count=count)
        for part in (1, share)
    )
    return ChangeOption(before, after, risk, settled)


OPTIONS = st.lists(
    st.builds(
        option,
        st.floats(0.1, 2.0),
        st.floats(0.1, 8.0),
        st.integers(1, 4),
        st.sampled_from([0.25, 0.5, 0.8]),
        st.floats(0.1, 9.0),
    ),
    min_size=1,
    max_size=4,
)


def packed(options, changed):
    groups = [one.after if taken else one.before for one, taken in zip(options, changed, strict=True)]
    return pack([SMALL, LARGE], groups).price_hour


def fits_in_total(options, changed, budget):
    """Whether whole nodes within the budget hold the sum of what is asked for: what the model knows."""
    groups = [one.after if taken else one.before for one, taken in zip(options, changed, strict=True)]
    cpu = sum(group.count * group.cpu_cores for group in groups)
    memory = sum(group.count * group.memory_bytes for group in groups)
    for large in range(int(budget / LARGE.price_hour + 1e-9) + 1):
        small = int((budget - large * LARGE.price_hour) / SMALL.price_hour + 1e-9)
        if 2 * small + 8 * large >= cpu - 1e-9 and (8 * small + 32 * large) * GIB >= memory - 1:
            return True
    return False


def least(options, allowed):
    """Tries every choice."""
    risks = [
        sum(one.risk for one, taken in zip(options, changed, strict=True) if taken)
        for changed in itertools.product((False, True), repeat=len(options))
        if allowed(changed)
    ]
    return min(risks, default=math.inf)


@settings(max_examples=20, deadline=None)
@given(OPTIONS, st.floats(0.2, 1.1))
def test_highs_and_brute_force_agree_on_the_risk(options, share):
    """It lies between the least of the model and the least that can be packed, and the gap says so."""
    budget = share * packed(options, [False] * len(options))
    changes = least_risk([SMALL, LARGE], options, budget, 10.0)
    bound = least(options, lambda changed: fits_in_total(options, changed, budget))
    best = least(options, lambda changed: packed(options, changed) <= budget + 1e-9)
    if math.isinf(bound):
        assert changes is None
    if changes is None:
        return
    assert packed(options, changes.changed) <= budget + 1e-9
    assert changes.risk >= best - 1e-6
    assert changes.risk * (1 - changes.gap) == pytest.approx(bound, rel=1e-3, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(OPTIONS)
def test_a_budget_that_needs_nothing_changes_nothing(options):
    now = packed(options, [False] * len(options))
    assume(now > 0)
    changes = least_risk([SMALL, LARGE], options, 2 * now, 10.0)
    assert not any(changes.changed)
    assert (changes.risk, changes.gap) == (0.0, 0.0)


def test_what_is_settled_is_changed_and_no_money_is_no_choice():
    options = [option(1, 4, 2, 0.5, 1.0, settled=True), option(1, 4, 2, 0.5, 1.0)]
    assert least_risk([SMALL], options, 1.0, 10.0).changed == (True, False)
    assert least_risk([SMALL], options, 0.05, 10.0) is None


def test_too_little_time_is_an_error():
    options = [option(0.1 + number / 97, 1 + number % 7, 3, 0.5, 1 + number % 5) for number in range(60)]
    with pytest.raises(NoTimeError, match="was found in 1e-09 s"):
        least_risk([SMALL, LARGE], options, 0.7 * packed(options, [False] * 60), 1e-9)


BOOK = PriceBook(
    name="b", currency="EUR", cpu_core_hour=0.03, memory_gib_hour=0.003, node_types=(SMALL, LARGE)
)


def states(name, before, after, confidence):
    def of(cpu):
        return {"cpu_request": cpu, "memory_request": "512Mi", "replicas": 4}

    return WorkloadStates(workload=name, current=of(before), recommended=of(after), confidence=confidence)


def test_the_surer_of_two_changes_is_made_where_one_is_enough():
    fleet = [
        states("sure", "1500m", "500m", 0.95),
        states("unsure", "1500m", "500m", 0.6),
        states("short", "200m", "400m", 0.9),
        states("right", "500m", "500m", 1.0),
    ]
    kept = [one if one.workload != "unsure" else states("unsure", "1500m", "1500m", 1.0) for one in fleet]
    enough = fleet_view(kept, BOOK).recommended.packed_cost_month + 0.01
    found = fleet_view(fleet, BOOK, NodeBudget(enough)).budget
    assert found.met
    assert (found.change, found.leave) == (("sure", "short"), ("unsure",))  # what is short is raised anyway
    assert found.fleet.packed_cost_month <= enough
    assert fleet_view(fleet, BOOK, NodeBudget(1.0)).budget.fleet is None
    assert fleet_view(fleet, BOOK).budget is None
