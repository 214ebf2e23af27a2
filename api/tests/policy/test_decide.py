"""Whether a change may begin: every rule by itself, and which of several decides."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt.config.loading import load_config
from perfopt.domain.enums import OptimizationStatus, OptimizationType, ServiceClass
from perfopt.domain.rules import TimeWindow
from perfopt.errors import InvalidInputError
from perfopt_api.policy.decide import decide, frozen_by
from perfopt_api.policy.facts import PolicyClock, ProposedChange
from perfopt_api.policy.settings import PolicySettings, SizeRange, policy_settings
from perfopt_api.store.apply_port import ApplyFacts, Freeze, PastApply

NOW = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
SETTINGS = PolicySettings(apply="auto", exchanges=())
CHANGE = ProposedChange(
    workload="prod/deployment/api",
    namespace="prod",
    job_id="mine",
    types=(OptimizationType.RESOURCE_OPTIMIZATION,),
    before={"containers.app.cpu_request": "1"},
    after={"containers.app.cpu_request": "600m"},
    confidence=0.9,
    strategy="resource",
    strategy_version="1",
    automatic=True,
)


def said(change=None, facts=None, settings=None, **clock):
    """Returns outcome, rule and time of the decision."""
    change = msgspec.structs.replace(CHANGE, **(change or {}))
    settings = msgspec.structs.replace(SETTINGS, **(settings or {}))
    decision = decide(change, facts or ApplyFacts(), settings, PolicyClock(now=NOW, **clock))
    return decision.outcome, decision.rule, decision.until


def past(number, *, status="APPLIED", started=3 * HOUR, ended=2 * HOUR, **fields):
    """Returns an earlier change, by how long ago it began and ended."""
    place = {"workload": f"prod/deployment/other-{number}", "namespace": "prod", "strategy": "cost"} | fields
    return PastApply(
        job_id=f"job-{number}",
        cluster="",
        strategy_version="1",
        status=OptimizationStatus(status),
        started_at=NOW - started,
        ended_at=None if ended is None else NOW - ended,
        **place,
    )


def test_what_nothing_stands_against_is_allowed():
    assert said() == ("allowed", "", None)


@pytest.mark.parametrize(
    ("change", "settings", "rule"),
    [
        ({}, {"apply": "off"}, "policy.apply"),
        ({}, {"apply": "manual"}, "policy.apply"),
        ({"confidence": 0.79}, {}, "policy.confidence_floor"),
        ({"service_class": ServiceClass.CRITICAL}, {}, "policy.auto_classes"),
        ({"types": (OptimizationType.COST_OPTIMIZATION,)}, {}, "policy.auto_types"),
        ({}, {"auto_directions": ("up",)}, "policy.auto_directions"),
        ({}, {"ranges": {"prod/*": SizeRange(cpu_min="700m")}}, "policy.ranges"),
        ({}, {"exchanges": ("XNYS",)}, "policy.exchanges"),
    ],
)
def test_what_is_denied_names_the_setting(change, settings, rule):
    assert said(change, settings=settings)[:2] == ("denied", rule)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ({"automatic": False}, {"apply": "manual"}),
        ({"automatic": False, "confidence": 0.1, "force": True}, {}),
        ({"automatic": False, "service_class": ServiceClass.CRITICAL}, {}),
        ({"confidence": 0.8}, {}),
        ({}, {"ranges": {"other/*": SizeRange(cpu_min="700m"), "*": SizeRange(cpu_min="600m")}}),
    ],
)
def test_what_somebody_asks_for_or_is_just_within_is_allowed(change, settings):
    assert said(change, settings=settings)[0] == "allowed"


def test_a_demoted_strategy_is_advice_only():
    facts = ApplyFacts(demoted=frozenset({"resource/1/standard"}))
    assert said(facts=facts)[:2] == ("denied", "policy.strategy_floor")
    assert said({"automatic": False}, facts)[0] == "allowed"
    assert said({"strategy_version": "2"}, facts)[0] == "allowed"


def test_an_approval_counts_when_it_is_another_principal_s():
    asked = {"requires_approval": True, "approval_rules": ("close/ask",), "requester": "ann"}
    assert said(asked)[:2] == ("approval", "close/ask")
    assert said(asked | {"approvals": ("ann",)})[0] == "approval"
    assert said(asked | {"approvals": ("bob",)})[0] == "allowed"
    assert said(asked | {"approvals": ("bob",)}, settings={"approvals": 2})[0] == "approval"
    assert said(settings={"approve_automatic": True})[:2] == ("approval", "policy.approve_automatic")


@pytest.mark.parametrize("scope", ["*", "prod", "prod/deployment/api"])
def test_a_freeze_defers_what_is_within_its_scope(scope):
    assert said(facts=ApplyFacts(freezes=(Freeze(scope=scope, reason="x"),)))[:2] == (
        "deferred",
        f"freeze[{scope}]",
    )


@pytest.mark.parametrize("scope", ["pro", "other", "prod/deployment/api-2"])
def test_a_freeze_elsewhere_is_none(scope):
    assert said(facts=ApplyFacts(freezes=(Freeze(scope=scope, reason="x"),)))[0] == "allowed"


@pytest.mark.parametrize(
    ("workload", "scope", "within"),
    [
        ("eu/shop/deployment/api", "shop", True),
        ("eu/shop/deployment/api", "eu/shop", True),
        ("eu/shop/deployment/api", "us/shop", False),
        ("eu/shop/deployment/api", "eu", False),  # a cluster is no namespace
        ("shop/prod/deployment/api", "shop", False),
        ("shop/deployment/api", "eu/shop", False),
        ("eu/shop/deployment/api", "eu/shop/deployment/api", True),
        ("bitbrains-rnd/vm282", "bitbrains-rnd", True),
        ("bitbrains-rnd/vm282", "bitbrains", False),
    ],
)
def test_a_scope_is_a_namespace_of_any_or_of_one_cluster_or_a_workload(workload, scope, within):
    assert bool(frozen_by(workload, [Freeze(scope=scope, reason="x")])) is within


def test_the_cluster_s_own_freeze_defers():
    assert said({"frozen": "month end"})[:2] == ("deferred", "freeze.cluster")


def test_a_change_waits_for_the_next_window():
    outcome, rule, until = said(settings={"windows": ("mon-fri 18:00-06:00",)})
    assert (outcome, rule, until) == ("deferred", "policy.windows", NOW.replace(hour=18, minute=0))
    assert said(settings={"windows": ("mon 12:00-13:00",)})[0] == "allowed"
    assert said(settings={"windows": ("sun 22:00-14:00",)})[0] == "allowed"  # since yesterday


def test_a_change_waits_for_the_end_of_a_session_and_its_margin():
    sessions = {"XNYS": ((NOW + timedelta(minutes=20), NOW + 7 * HOUR),)}
    outcome, rule, until = said(settings={"exchanges": ("XNYS",)}, sessions=sessions)
    assert (outcome, rule, until) == ("deferred", "policy.exchanges", NOW + 7.5 * HOUR)
    sessions = {"XNYS": ((NOW + timedelta(minutes=31), NOW + 7 * HOUR),)}
    assert said(settings={"exchanges": ("XNYS",)}, sessions=sessions)[0] == "allowed"


def test_windows_of_rules_are_waited_for_and_end():
    later = (TimeWindow(start=NOW + HOUR, end=NOW + 2 * HOUR),)
    assert said({"allowed_windows": later}) == ("deferred", "rules.allowed_windows", NOW + HOUR)
    over = (TimeWindow(start=NOW - 2 * HOUR, end=NOW - HOUR),)
    assert said({"allowed_windows": over})[:2] == ("denied", "rules.allowed_windows")


def test_a_rescue_waits_for_no_time_where_policy_says_so_but_for_a_freeze():
    rescue = {"rescue": True, "after": {"containers.app.cpu_request": "2"}}
    closed = {"windows": ("sat 10:00-11:00",)}
    assert said(rescue, settings=closed)[0] == "deferred"
    assert said(rescue, settings=closed | {"rescue_anytime": True})[0] == "allowed"
    frozen = ApplyFacts(freezes=(Freeze(scope="*", reason="x"),))
    assert said(rescue, frozen)[0] == "deferred"


@pytest.mark.parametrize(("bad", "hours"), [(0, 1), (1, 2), (3, 8)])
def test_the_cool_down_doubles_with_each_change_that_did_not_hold(bad, hours):
    mine = {"workload": "prod/deployment/api", "strategy": "other"}
    statuses = ["ROLLED_BACK"] * bad + ["APPLIED"]
    ended = [timedelta(minutes=30) * (number + 1) for number in range(len(statuses))]
    facts = ApplyFacts(
        past=tuple(
            past(n, status=status, started=at + HOUR, ended=at, **mine)
            for n, (status, at) in enumerate(zip(statuses, ended, strict=True))
        )
    )
    _, rule, until = said(facts=facts, settings={"breaker_failures": 100})
    assert (rule, until) == ("policy.cooldown_minutes", NOW - ended[0] + hours * HOUR)


def test_the_breaker_opens_by_namespace_and_by_version_of_a_strategy():
    three = tuple(past(n, status="ROLLED_BACK", ended=(n + 1) * HOUR) for n in range(3))
    outcome, rule, until = said(facts=ApplyFacts(past=three))
    assert (outcome, rule, until) == ("deferred", "policy.breaker_failures", NOW - 3 * HOUR + 24 * HOUR)
    assert said(facts=ApplyFacts(past=three[:2]))[0] == "allowed"
    elsewhere = tuple(
        past(
            n,
            status="ROLLED_BACK",
            ended=HOUR,
            namespace="x",
            workload=f"x/deployment/{n}",
            strategy="resource",
        )
        for n in range(3)
    )
    assert said(facts=ApplyFacts(past=elsewhere))[1] == "policy.breaker_failures"
    assert said({"strategy_version": "2"}, ApplyFacts(past=elsewhere))[0] == "allowed"


@pytest.mark.parametrize(
    "code", ["rollback_requested", "cancelled", "canary_lost", "released_meanwhile", "rollout_paused"]
)
def test_what_a_person_or_a_release_took_back_does_not_open_the_breaker(code):
    asked = tuple(past(n, status="ROLLED_BACK", ended=HOUR, failure_code=code) for n in range(9))
    shown = tuple(
        past(n, status="ROLLED_BACK", ended=HOUR, failure_code="verification_failed") for n in range(3)
    )
    assert said(facts=ApplyFacts(past=asked))[0] == "allowed"
    assert said(facts=ApplyFacts(past=(*asked, *shown[:2])))[0] == "allowed"
    assert said(facts=ApplyFacts(past=(*asked, *shown)))[1] == "policy.breaker_failures"


def test_no_more_changes_run_at_once_than_may():
    running = tuple(past(n, status="APPLYING", ended=None, namespace=f"n{n}") for n in range(10))
    assert said(facts=ApplyFacts(past=running))[1] == "policy.max_in_flight"
    assert said(facts=ApplyFacts(past=running[:9]))[0] == "allowed"
    here = tuple(past(n, status="APPLYING", ended=None) for n in range(3))
    assert said(facts=ApplyFacts(past=here))[1] == "policy.max_in_flight_namespace"
    idle = tuple(past(n, status="APPLYING", ended=None, workload=f"prod/cronjob/{n}") for n in range(3))
    assert said(facts=ApplyFacts(past=idle))[0] == "allowed"  # they wait for their next runs
    mine = (past(1, status="APPLYING", ended=None),) * 1
    assert said({"job_id": "job-1"}, ApplyFacts(past=mine), {"max_in_flight": 1})[0] == "allowed"


@pytest.mark.parametrize(
    ("minutes", "running", "outcome"),
    [(0, 1, "deferred"), (0, 0, "allowed"), (15, 4, "allowed"), (15, 5, "deferred"), (30, 9, "allowed")],
)
def test_after_a_start_the_number_at_once_grows_from_one(minutes, running, outcome):
    facts = ApplyFacts(
        past=tuple(past(n, status="APPLYING", ended=None, namespace=f"n{n}") for n in range(running))
    )
    assert said(facts=facts, up_for=timedelta(minutes=minutes))[0] == outcome


def test_no_more_changes_begin_within_an_hour_of_the_clock_than_may():
    begun = tuple(past(n, started=timedelta(minutes=20), ended=timedelta(minutes=10)) for n in range(10))
    outcome, rule, until = said(facts=ApplyFacts(past=begun))
    assert (outcome, rule, until) == (
        "deferred",
        "policy.max_per_hour_namespace",
        NOW.replace(hour=13, minute=0),
    )
    before = tuple(past(n, started=timedelta(minutes=31), ended=timedelta(minutes=10)) for n in range(10))
    assert said(facts=ApplyFacts(past=before))[0] == "allowed"
    wide = tuple(
        past(n, started=timedelta(minutes=20), ended=timedelta(minutes=10), namespace=f"n{n}")
        for n in range(30)
    )
    assert said(facts=ApplyFacts(past=wide))[1] == "policy.max_per_hour"


def test_a_denial_goes_before_an_approval_and_that_before_a_deferral():
    asks = {"requires_approval": True}
    waits = {"windows": ("sat 10:00-11:00",)}
    assert said(asks, settings=waits)[0] == "approval"
    assert said(asks | {"confidence": 0.1}, settings=waits)[0] == "denied"


def test_off_is_off_also_as_yaml_reads_it(tmp_path):
    file = tmp_path / "perfopt.yaml"
    file.write_text("policy: {apply: off}\n")
    assert policy_settings(load_config(file, {})).apply == "off"
    file.write_text("policy: {apply: on}\n")
    with pytest.raises(InvalidInputError, match="apply"):
        load_config(file, {}).section("policy", PolicySettings)
