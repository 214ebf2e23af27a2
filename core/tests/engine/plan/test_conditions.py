"""What a plan needs of whoever applies it."""

from datetime import timedelta

import msgspec
from proposals import COST, LIMITED, MIB, RESOURCE, SMALLER, Wanting, by_type, merged, steady

from perfopt.domain.rules import ApplyConditions, FiredRule, TimeWindow
from perfopt.engine.pipeline import run_strategy
from perfopt.testing import make_context


def windows(*hours):
    start = make_context(steady()).now
    return tuple(
        TimeWindow(start=start + timedelta(hours=a), end=start + timedelta(hours=b)) for a, b in hours
    )


def asked(strategy, rules=(), **conditions):
    """Returns what a strategy says, with what rules left on it."""
    fired = tuple(
        FiredRule(pack="mine", version="1.0.0", rule=name, action="annotate", reason="R.") for name in rules
    )
    outcome = run_strategy(strategy, make_context(steady()))
    return msgspec.structs.replace(outcome, conditions=ApplyConditions(**conditions), rules=fired)


def test_a_plan_needs_all_that_any_part_of_it_needs():
    result = merged(
        (
            SMALLER,
            asked(SMALLER, ["a", "b"], requires_approval=True, allowed_windows=windows((2, 8), (20, 30))),
        ),
        (LIMITED, asked(LIMITED, ["b", "c"], allowed_windows=windows((4, 22)), annotations={"team": "risk"})),
    )
    plan = result.plan
    assert plan.requires_approval
    assert plan.allowed_windows == windows((4, 8), (20, 22))
    assert plan.not_before == plan.allowed_windows[0].start
    assert plan.annotations == {"team": "risk"}
    assert set(plan.rules_fired) == {"a", "b", "c"}
    assert len(plan.rules) == 3  # the one that fired on both is told once


def test_who_is_not_in_the_plan_asks_nothing_of_it():
    bolder = Wanting(COST, quantities={"memory_request_bytes": 400 * MIB})
    result = merged((SMALLER, asked(SMALLER)), (bolder, asked(bolder, ["a"], requires_approval=True)))
    assert not result.plan.requires_approval
    assert result.plan.rules == ()


def test_parts_whose_windows_never_meet_make_no_plan_and_keep_their_own():
    result = merged(
        (SMALLER, asked(SMALLER, allowed_windows=windows((2, 8)))),
        (LIMITED, asked(LIMITED, allowed_windows=windows((9, 12)))),
    )
    assert result.plan is None
    assert [warning.code for warning in result.warnings] == ["plan_has_no_window"]
    assert by_type(result)[RESOURCE].allowed_windows == windows((2, 8))
