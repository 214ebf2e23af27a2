"""The sentences of a plan."""

from datetime import timedelta

import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import KNOBS, REPLICAS, container_path
from perfopt.domain.recommendation import Conflict, ExpectedValue
from perfopt.domain.workload import Container, Slo, WorkloadState
from perfopt.engine.plan import text
from perfopt.engine.plan.reconcile import (
    DEPENDENT_FIELD,
    JOINT_VIOLATION,
    NO_NET_BENEFIT,
    REDUNDANT,
    REFUSED_BY_RULES,
    SAME_FIELD,
    RejectedField,
)
from perfopt.engine.plan.scored import (
    BY_UTILITY,
    FOR_OBJECTIVE,
    JOINT,
    MEMORY_SAFETY,
    YIELDS,
    ScoredProposal,
)
from perfopt.plugin import Proposal

CPU = container_path("main", "cpu_request_cores")
MEMORY = container_path("main", "memory_request_bytes")
STATE = WorkloadState(containers=(Container(name="main"),), replicas=2)
DIFFERENCE = ExpectedValue(saving=3.0, risk=-5.0, total=-2.0)


def scored(key, kind=OptimizationType.RESOURCE_OPTIMIZATION, utility=12.346, confidence=0.9):
    proposal = Proposal(optimization_type=kind, target=STATE, description="Do it.")
    return ScoredProposal(key=key, proposal=proposal, confidence=confidence, utility=utility, current={})


LOSER = scored("cost/it", OptimizationType.COST_OPTIMIZATION, 7.0, 0.8)
WINNER = scored("resource/it")


def conflict(code=SAME_FIELD, *, winner=WINNER, rank=BY_UTILITY, path=CPU, contested=None, slo=None, **more):
    rejected = RejectedField(path, 0.5, code, LOSER, winner, rank, contested or path, **more)
    return text.conflict(rejected, {CPU: 1.0}, slo, "EUR")


def test_a_conflict_names_both_sides_and_their_values():
    made = conflict()
    assert (made.field, made.code, made.wanted, made.kept) == ("main.cpu_request", SAME_FIELD, "500m", "1")
    assert (made.lost_by, made.lost_by_type) == ("cost/it", OptimizationType.COST_OPTIMIZATION)
    assert (made.won_by, made.won_by_type) == ("resource/it", OptimizationType.RESOURCE_OPTIMIZATION)
    alone = conflict(NO_NET_BENEFIT, winner=None)
    assert (alone.won_by, alone.won_by_type) == (None, None)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            conflict(),
            "resource/it has the higher expected utility (saving, confidence and under-provisioning penalty):"
            " 12.35 EUR a month at confidence 0.90 against 7.00 EUR a month at confidence 0.80.",
        ),
        (
            conflict(REFUSED_BY_RULES, winner=None, refusal="Too dear."),
            "Rules refuse the plan with it: Too dear.",
        ),
        (
            conflict(NO_NET_BENEFIT, winner=None, difference=DIFFERENCE),
            "Negative net value: with it the plan is worth -2.00 EUR a month (saving +3.00, risk of"
            " under-provisioning -5.00).",
        ),
        (
            conflict(NO_NET_BENEFIT, winner=None, difference=ExpectedValue(saving=0.0, risk=0.0, total=0.0)),
            "Negative net value: it would not change the expected value.",
        ),
        (
            conflict(NO_NET_BENEFIT, winner=None, difference=ExpectedValue(saving=2.0, risk=0.0, total=2.0)),
            "Negative net value: with it the plan is worth +2.00 EUR a month (saving +2.00, risk of"
            " under-provisioning +0.00).",
        ),
        (
            conflict(NO_NET_BENEFIT, winner=None, difference=None),
            "Negative net value: it would not change the expected value.",
        ),
        (
            conflict(JOINT_VIOLATION),
            "Accurate alone, but violated together with the changes of resource/it in the backtest.",
        ),
        (
            conflict(REDUNDANT, difference=DIFFERENCE),
            "Redundant: the capacity that resource/it adds is enough in the backtest; with it the plan is"
            " worth -2.00 EUR a month (saving +3.00, risk of under-provisioning -5.00).",
        ),
        (
            conflict(DEPENDENT_FIELD, path=(KNOBS, "main", "gomaxprocs"), contested=CPU),
            "Computed for another main.cpu_request than resource/it sets; analyse again once that is"
            " applied.",
        ),
        (
            conflict(DEPENDENT_FIELD, path=(KNOBS, "main", "gomaxprocs"), contested=REPLICAS),
            "Depends on replicas, which resource/it sets to another value.",
        ),
        (
            conflict(DEPENDENT_FIELD, contested=REPLICAS),
            "Depends on replicas, which resource/it sets to another value.",
        ),
        (
            conflict(owner_rank=YIELDS),
            "resource/it sets requests and limits; this proposal changes nothing else.",
        ),
        (
            conflict(rank=MEMORY_SAFETY, owner_rank=YIELDS),
            "resource/it needs this much memory to be safe; less risks an OOM kill.",
        ),
        (
            conflict(rank=JOINT),
            "resource/it sets the request and the autoscaler target together, so replicas do not grow.",
        ),
        (
            conflict(rank=FOR_OBJECTIVE, slo=Slo(latency_ms=250.0, quantile=0.99)),
            "resource/it needs this field to meet the objective of 250 ms at the 0.99 quantile.",
        ),
    ],
)
def test_why_a_field_is_rejected(made, reason):
    assert made.reason == reason


def rejected(*fields, kept="1", wanted="500m"):
    kind = OptimizationType.COST_OPTIMIZATION
    return [
        Conflict(
            field=field,
            code=SAME_FIELD,
            wanted=wanted,
            kept=kept,
            lost_by="cost/it",
            lost_by_type=kind,
            won_by=None,
            won_by_type=None,
            reason="Because.",
        )
        for field in fields
    ]


def test_what_is_left_out_is_listed_up_to_six_fields():
    assert text.left_out(rejected("a")) == "In the plan a is 1 instead of 500m: Because."
    six, seven = (text.left_out(rejected(*"abcdefg"[:number])) for number in (6, 7))
    assert "f is 1" in six
    assert "more" not in six
    assert "g is 1" not in seven
    assert " and 1 more: Because." in seven
    assert text.rejection(rejected("a", "b")) == "rejected: a 500m, b 500m; Because."
    assert "g 500m" not in text.rejection(rejected(*"abcdefg"))


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (None, "unset"),
        ([1], "1 entry"),
        ([1, 2], "2 entries"),
        ({}, "0 entries"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 37 + "..."),
        (3, "3"),
    ],
)
def test_long_values_are_shortened(value, short):
    assert text.rejection(rejected("a", wanted=value)) == f"rejected: a {short}; Because."


def sentence(changes, before, length=timedelta(days=7), parts=1):
    return text.plan(changes, before, length, parts)


def test_a_plan_says_what_changes_from_what_and_for_how_long():
    changes, before = {CPU: 0.5, REPLICAS: 3, MEMORY: None}, {CPU: 1.0, MEMORY: 2**30}
    assert sentence(changes, before) == (
        "Set main.cpu_request from 1 to 500m, replicas to 3, main.memory_request from 1Gi to unset, for the"
        " next 7 days: one recommendation, in the order of the steps."
    )
    assert "days: 2 recommendations together, in" in sentence(changes, before, parts=2)
    many = {("extra", f"key{number}"): number for number in range(8)}
    assert "key5 to 5 and 2 more, for" in sentence(many, {})
    assert "key6" not in sentence(many, {})


@pytest.mark.parametrize(
    ("hours", "length"),
    [(1, "1 hour"), (2, "2 hours"), (47, "47 hours"), (48, "2 days"), (36, "36 hours"), (60, "2.5 days")],
)
def test_validity_is_in_hours_below_two_days(hours, length):
    assert f"for the next {length}:" in sentence({REPLICAS: 3}, {}, timedelta(hours=hours))


@pytest.mark.parametrize(
    ("objective", "dearer", "follows", "others", "reason"),
    [
        (True, None, True, [], "The only step."),
        (True, False, True, [True], "First: the declared objective needs it."),
        (False, True, False, [None, False], "Adds capacity, so it comes before steps that remove capacity."),
        (False, True, False, [None, True], "Adds capacity, which is safe at any time."),
        (
            False,
            None,
            True,
            [True],
            "Does not change the cost, so it comes between adding and removing capacity.",
        ),
        (
            False,
            False,
            True,
            [True],
            "Replicas follow the demand after it, so it comes before requests shrink.",
        ),
        (False, False, False, [True], "Removes capacity, so it comes after the steps before it are applied."),
    ],
)
def test_why_a_step_has_its_place(objective, dearer, follows, others, reason):
    step = text.step(follows_demand=follows, for_objective=objective, dearer=dearer, others=others)
    assert step == reason
