"""Where one type abstains from a field for lack of evidence, no other type lowers it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import Evidence, ReplayWindow
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.abstention import (
    abstentions,
    bound_by_abstentions,
    confident_enough,
    lowered_quantities,
    not_refuted,
)
from perfopt.engine.messages import StrategyOutcome
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin.strategy import Prior, Proposal, decline
from perfopt.testing import make_context, make_snapshot

RESOURCE, COST = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.COST_OPTIMIZATION
MAIN = Container(name="main", cpu_request_cores=1.0, memory_request_bytes=2**30, cpu_limit_cores=2.0)
CURRENT = WorkloadState(containers=(MAIN,), replicas=3)
HELD = ("cpu_request", "memory_request")


def info(kind, name="one"):
    prior = Prior(mean=0.5, strength=2.0, source="test")
    return StrategyInfo(
        plugin=kind.value,
        name=name,
        version="1",
        optimization_type=kind,
        metrics=(),
        forecasts=(),
        prior=prior,
    )


def abstains(kind=RESOURCE, holds=HELD):
    declined = decline(kind, DeclineCode.SHORT_HISTORY, "There are 20 h of history.", holds=holds)
    return info(kind, "abstains"), StrategyOutcome(status="declined", declined=declined)


def proposes(kind=COST, replicas=3, **quantities):
    container = msgspec.structs.replace(MAIN, **quantities)
    target = WorkloadState(containers=(container,), replicas=replicas)
    proposal = Proposal(optimization_type=kind, target=target, description="Do it.")
    return info(kind, "proposes"), StrategyOutcome(
        status="ok", proposal=proposal, evidence=Evidence(windows=())
    )


def outcome_of(kind, *results):
    return {i.optimization_type: one for i, one in bound_by_abstentions(results, CURRENT)}[kind]


@pytest.mark.parametrize("lowered", [{"cpu_request_cores": 0.9}, {"memory_request_bytes": 2**29}])
def test_another_type_does_not_lower_what_is_abstained_from(lowered):
    bound = outcome_of(COST, abstains(), proposes(**lowered))
    assert (bound.status, bound.proposal, bound.declined.code) == (
        "declined",
        None,
        DeclineCode.LOW_CONFIDENCE,
    )
    assert "20 h of history" in bound.declined.reason
    assert "main." in bound.declined.reason


@pytest.mark.parametrize(
    "other",
    [{"cpu_request_cores": 1.5}, {"cpu_limit_cores": 1.5}, {"replicas": 2}, {"cpu_request_cores": 1.0}],
)
def test_raises_other_fields_and_what_stays_are_free(other):
    assert outcome_of(COST, abstains(), proposes(**other)).status == "ok"


def test_an_abstention_that_holds_nothing_binds_nobody():
    assert outcome_of(COST, abstains(holds=()), proposes(cpu_request_cores=0.1)).status == "ok"


def test_a_proposal_of_the_same_type_is_evidence_enough():
    results = bound_by_abstentions(
        [abstains(), proposes(RESOURCE, cpu_request_cores=0.5), proposes(COST, cpu_request_cores=0.5)],
        CURRENT,
    )
    assert [outcome.status for _, outcome in results] == ["declined", "ok", "ok"]


def test_lowered_quantities_are_named_once_for_all_proposals():
    outcomes = [
        proposes(cpu_request_cores=0.5)[1],
        proposes(cpu_request_cores=0.4, memory_request_bytes=2**31)[1],
        abstains()[1],
    ]
    assert lowered_quantities(outcomes, CURRENT) == {"cpu_request"}
    assert lowered_quantities([proposes(replicas=1)[1]], CURRENT) == frozenset()


def test_a_type_of_which_another_strategy_proposes_does_not_abstain():
    held, size = abstains(), proposes(RESOURCE, cpu_request_cores=0.5)
    assert abstentions([held, proposes(COST, cpu_request_cores=0.5)]) == [held]
    assert abstentions([held, size]) == []


def prior_of(mean):
    return Prior(mean=mean, strength=2.0, source="test")


def confident(mean, minimum, **changes):
    who, outcome = proposes(replicas=2)
    proposal = msgspec.structs.replace(outcome.proposal, prior=prior_of(mean), **changes)
    outcome = msgspec.structs.replace(outcome, proposal=proposal, evidence=Evidence(windows=()))
    who = msgspec.structs.replace(who, holds=HELD)
    return confident_enough(who, outcome, minimum, timedelta(days=7))


def test_a_change_under_the_minimum_confidence_is_declined_and_holds_its_fields():
    declined = confident(0.79, 0.8).declined
    assert (declined.code, declined.holds) == (DeclineCode.LOW_CONFIDENCE, HELD)
    assert declined.reason == "Its confidence is 0.79; engine.minimum_confidence is 0.8."


@pytest.mark.parametrize(("mean", "minimum"), [(0.8, 0.8), (0.81, 0.8), (0.0, 0.0)])
def test_a_change_of_the_minimum_confidence_or_more_passes(mean, minimum):
    assert confident(mean, minimum).status == "ok"


def test_no_change_needs_no_confidence():
    assert confident(0.1, 0.8, no_change_needed=True).status == "ok"


def refuted(accurate, days=(7, 8), kind=RESOURCE, **quantities):
    """Checks a proposal by past windows of a week that began on given days of January."""
    begins = [datetime(2026, 1, day, tzinfo=UTC) for day in days]
    windows = tuple(
        ReplayWindow(made_at=at, scored_until=at + timedelta(days=7), outcome="inaccurate", accurate=one)
        for at, one in zip(begins, accurate, strict=True)
    )
    who, outcome = proposes(kind, **quantities)
    outcome = msgspec.structs.replace(outcome, evidence=Evidence(windows=windows))
    context = make_context(make_snapshot(state=CURRENT), timedelta(days=7))
    return not_refuted(msgspec.structs.replace(who, holds=HELD), outcome, context)


def test_what_lowers_is_declined_where_all_its_own_past_was_inaccurate():
    declined = refuted((False, False), cpu_request_cores=0.5).declined
    assert (declined.code, declined.holds) == (DeclineCode.LOW_CONFIDENCE, HELD)
    assert "It would lower main.cpu_request, and all 2 recommendations" in declined.reason


@pytest.mark.parametrize(
    ("accurate", "days", "changed"),
    [
        ((False, True), (7, 8), {"cpu_request_cores": 0.5}),  # one was accurate
        ((None, None), (7, 8), {"cpu_request_cores": 0.5}),  # none was scored
        ((), (), {"cpu_request_cores": 0.5}),
        ((False, False), (7, 8), {"cpu_request_cores": 1.5}),  # more is better than to stay
    ],
)
def test_one_accurate_window_or_a_raise_is_not_refuted(accurate, days, changed):
    assert refuted(accurate, days, **changed).status == "ok"
