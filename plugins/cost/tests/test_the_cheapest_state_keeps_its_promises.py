from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from perfopt.plugin import DEFAULT_PRICE_BOOK, Declined, HpaState, ServiceClass

GIB = 2**30
END = datetime(2026, 3, 2, tzinfo=UTC)  # of the histories; a Monday
DAY = 288


def codes(proposal):
    return {reason.code for reason in proposal.reasons}


def reason(proposal, code):
    return next(reason for reason in proposal.reasons if reason.code == code)


def test_fewer_and_smaller_replicas_cost_less_and_the_sentence_says_how_much(bench):
    made = bench.ask()
    (container,) = made.target.containers
    assert made.target.replicas < 6
    assert made.target.replicas * container.cpu_request_cores >= 6 * 0.2
    assert container.memory_request_bytes >= 0.5 * GIB
    assert made.description.startswith(
        f"Run {made.target.replicas} replicas in place of 6; set cpu_request 1 ->"
    )
    then = DEFAULT_PRICE_BOOK.monthly_cost(made.target)
    assert f"{then:,.2f} USD a month in place of 121.14" in made.description
    assert "optimality gap 0.00%" in reason(made, "optimality").text


def test_one_recommendation_at_most_halves_the_replicas(bench):
    assert bench.ask(replicas=9).target.replicas >= 5


def test_the_cpu_limit_rises_with_the_load_of_a_replica(bench):
    made = bench.ask(replicas=6)
    assert made.target.containers[0].cpu_limit_cores == pytest.approx(2.0 * 6 / made.target.replicas)


@pytest.mark.parametrize(
    ("service_class", "replicas", "least"),
    [
        (ServiceClass.CRITICAL, 1, 2),
        (ServiceClass.CRITICAL, 4, 2),
        (ServiceClass.STANDARD, 3, 2),
        (ServiceClass.STANDARD, 1, 1),
        (ServiceClass.BATCH, 2, 1),
    ],
)
def test_availability_by_class(bench, service_class, replicas, least):
    made = bench.ask(bench.cpu(busy=0.02), replicas=replicas, service_class=service_class)
    assert made.target.replicas == least
    if service_class is ServiceClass.CRITICAL:
        assert "in at least 2 zones" in reason(made, "availability").text


def test_no_pod_is_asked_for_more_than_it_requests_or_was_seen_to_use(bench):
    busy, wide = bench.cpu(busy=0.6), {"cpu_request_cores": 3.0, "cpu_limit_cores": 6.0}
    assert bench.ask(busy, replicas=6, container=wide).target.replicas == 3
    narrow = bench.ask(busy, replicas=6, container={"cpu_request_cores": 1.5, "cpu_limit_cores": 1.5})
    assert narrow.target.replicas > 3
    assert narrow.target.containers[0].cpu_request_cores <= 1.5


def test_off_hours_become_a_schedule_over_the_validity(bench):
    made = bench.ask(bench.cpu(busy=0.6, quiet=0.03), replicas=8)
    entries = made.target.extra["schedule"]
    assert entries[0]["start"] == END.isoformat()
    assert entries[-1]["end"] == (END + timedelta(days=7)).isoformat()
    for before, after in pairwise(entries):
        assert before["end"] == after["start"]
    at = {count: [] for count in {entry["min_replicas"] for entry in entries}}
    for entry in entries:
        at[entry["min_replicas"]].append(datetime.fromisoformat(entry["start"]))
    high, low = max(at), min(at)
    assert high == made.target.replicas
    assert low == 2
    assert all((start.hour, start.minute) == (6, 45) for start in at[high])  # an hour beside, 15 min early
    assert {start.weekday() for start in at[high]} == {0, 1, 2, 3, 4}
    assert 40 < made.claim.saving_percent < 90
    assert f"save {made.claim.saving_percent:.0f} % of the replica-hours" in reason(made, "off_hours").text


def test_a_trading_service_follows_the_sessions_of_its_exchange(bench):
    made = bench.ask(bench.cpu(busy=0.6, quiet=0.03), replicas=8, labels={"perfopt.io/calendar": "XNYS"})
    assert "the sessions of XNYS" in reason(made, "off_hours").text
    unknown = bench.ask(bench.cpu(busy=0.6, quiet=0.03), replicas=8, labels={"perfopt.io/calendar": "XXXX"})
    assert "weekdays and weekends" in reason(unknown, "off_hours").text


def test_days_that_were_hardly_seen_have_no_off_hours(bench):
    """Four days before a Monday hold two working days: too few to call any of their hours quiet."""
    made = bench.ask(bench.cpu(busy=0.6, quiet=0.03, days=4), replicas=8)
    weekdays = [
        entry["min_replicas"]
        for entry in made.target.extra.get("schedule", [])
        if datetime.fromisoformat(entry["start"]).weekday() == 0
    ]
    assert set(weekdays) <= {made.target.replicas}


def test_an_overlarge_minimum_of_an_hpa_falls_and_requests_stay(bench):
    hpa = HpaState(min_replicas=6, max_replicas=12, target_cpu_utilization_percent=70)
    made = bench.ask(bench.cpu(busy=0.3, quiet=0.05), hpa=hpa, replicas=6)
    assert made.target.hpa.min_replicas == 2
    assert made.target.hpa.max_replicas == 12
    assert made.target.containers[0].cpu_request_cores == 1.0
    assert 2 <= made.target.replicas < 6
    assert made.claim.saving_percent > 10
    found = reason(made, "orphaned_minimum")
    assert "The HPA's minimum of 6 can be 2" in found.text


def test_an_hpa_that_scales_above_its_minimum_has_an_overlarge_one(bench):
    hpa = HpaState(min_replicas=6, max_replicas=20, target_cpu_utilization_percent=70)
    cpu = bench.cpu(busy=0.95, quiet=0.02)
    made = bench.ask(cpu, hpa=hpa, replicas=8)
    assert "overlarge_minimum" in codes(made) or made.target.hpa.min_replicas == 6


def test_spot_where_the_book_has_it_and_the_class_allows_it(bench, book):
    standard = bench.ask(book=book)
    extra = standard.target.extra
    assert (extra["node_type"], extra["spot_share"]) == ("medium", pytest.approx(0.5, abs=0.2))
    assert "at least 1 on demand" in reason(standard, "spot").text
    batch = bench.ask(book=book, service_class=ServiceClass.BATCH)
    assert batch.target.extra["spot_share"] == 1.0
    for kind, service_class in (("StatefulSet", ServiceClass.STANDARD), ("", ServiceClass.CRITICAL)):
        made = bench.ask(book=book, kind=kind, service_class=service_class)
        assert "spot_share" not in made.target.extra


def test_a_pod_too_large_for_a_node_type_is_not_placed_there(bench, book):
    small_only = msgspec.structs.replace(
        book, node_types=tuple(n for n in book.node_types if n.name == "small")
    )
    kept = bench.ask(
        bench.cpu(busy=0.6), replicas=4, book=small_only, extra={"node_type": "small"},
        container={"cpu_request_cores": 2.0, "cpu_limit_cores": 4.0},
    )  # fmt: skip
    assert kept.target.extra["node_type"] == "small"
    assert kept.target.containers[0].cpu_request_cores <= 2.0


def test_the_slo_decides_how_much_load_a_replica_may_take(bench):
    latency = np.full(14 * DAY, 200.0)
    free = bench.ask(slo=2000.0, service={"latency_p99_ms": latency})
    held = bench.ask(slo=201.0, service={"latency_p99_ms": latency})
    unchecked = bench.ask(slo=201.0)
    assert free.target.replicas < 6
    assert held.target.replicas == 6
    assert unchecked.target.replicas == 6
    assert "slo_unchecked" in codes(unchecked)


def test_idle_and_abandoned_services_are_called_so(bench):
    nothing = bench.cpu(busy=0.001)
    silent = bench.ask(nothing, service={"requests_per_second": np.zeros(14 * DAY)})
    called = bench.ask(nothing, service={"requests_per_second": np.full(14 * DAY, 3.0)})
    assert "it looks abandoned" in reason(silent, "abandoned").text
    assert "It was called all the same" in reason(called, "idle").text
    assert silent.target.replicas == 3
    assert silent.target.containers[0].cpu_request_cores == pytest.approx(0.020)
    assert not {"idle", "abandoned"} & codes(bench.ask())


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"metrics": {"oom_kills": np.eye(1, 14 * DAY)}}, "unstable", "killed for lack of memory"),
        ({"metrics": {"cpu_throttled_fraction": np.full(14 * DAY, 0.4)}}, "unstable", "was throttled"),
        ({"container": {"cpu_request_cores": None}}, "unknown_state", "not known"),
        (
            {"container": {"cpu_request_cores": 0.1, "memory_request_bytes": 2**28}, "replicas": 1},
            "not_applicable",
            "may be too little",
        ),
    ],
)
def test_what_it_declines(bench, options, code, text):
    made = bench.ask(**options)
    assert isinstance(made, Declined)
    assert made.code == code
    assert text in made.reason


def test_what_is_right_stays(bench):
    first = bench.ask(replicas=1)
    container = first.target.containers[0]
    again = bench.ask(
        replicas=1,
        container={
            "cpu_request_cores": container.cpu_request_cores,
            "memory_request_bytes": container.memory_request_bytes,
        },
    )
    assert again.already_right
    assert again.description.startswith("Keep what is set")
    assert "optimality" in codes(again)


def test_an_owner_keeps_what_it_owns(bench):
    vpa = bench.ask(vpa_mode="Auto")
    assert vpa.target.containers[0].cpu_request_cores == 1.0
    assert vpa.target.replicas < 6
    keda = bench.ask(keda="web")
    assert keda.target.replicas == 6
    assert "replicas_owned" in codes(keda)
