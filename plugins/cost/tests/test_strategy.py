from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from perfopt.plugin import DEFAULT_PRICE_BOOK, DeclineCode, Declined, HpaState, ServiceClass
from perfopt_cost.features import usage_features

GIB = 2**30
END = datetime(2026, 3, 2, tzinfo=UTC)  # of the histories; a Monday
DAY = 288


def codes(proposal):
    return {reason.code for reason in proposal.reasons}


def reason(proposal, code):
    return next(reason for reason in proposal.reasons if reason.code == code)


def test_fewer_and_smaller_replicas_cost_less_and_the_sentence_says_how_much(bench):
    proposal = bench.ask()
    (container,) = proposal.target.containers
    assert proposal.target.replicas < 6
    assert proposal.target.replicas * container.cpu_request_cores >= 6 * 0.2
    assert container.memory_request_bytes >= 0.5 * GIB
    assert proposal.description.startswith(
        f"Run {proposal.target.replicas} replicas instead of 6; set cpu_request from 1 to"
    )
    then = DEFAULT_PRICE_BOOK.monthly_cost(proposal.target)
    assert f"121.14 to {then:,.2f} USD a month" in proposal.description
    assert "optimality gap 0.00%" in reason(proposal, "optimality").text


def test_the_recommended_state_is_the_target_and_not_one_step_towards_it(bench):
    made = bench.ask(bench.cpu(busy=0.05, quiet=0.05), replicas=20)
    assert made.target.replicas < 10
    total = made.target.replicas * made.target.containers[0].cpu_request_cores
    assert total >= 20 * 0.05


def test_the_cpu_limit_rises_with_the_load_of_a_replica(bench):
    proposal = bench.ask(replicas=6)
    assert proposal.target.containers[0].cpu_limit_cores == pytest.approx(2.0 * 6 / proposal.target.replicas)


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
    roomy = {"memory_limit_bytes": 16 * GIB}
    proposal = bench.ask(
        bench.cpu(busy=0.02), replicas=replicas, service_class=service_class, container=roomy
    )
    assert proposal.target.replicas == least
    if service_class is ServiceClass.CRITICAL:
        assert "in at least 2 zones" in reason(proposal, "availability").text


def test_no_pod_is_asked_for_more_than_it_requests_or_was_seen_to_use(bench):
    busy, wide = bench.cpu(busy=0.6), {"cpu_request_cores": 3.0, "cpu_limit_cores": 6.0}
    assert bench.ask(busy, replicas=6, container=wide).target.replicas == 3
    narrow = bench.ask(busy, replicas=6, container={"cpu_request_cores": 1.5, "cpu_limit_cores": 1.5})
    assert narrow.target.replicas > 3
    assert narrow.target.containers[0].cpu_request_cores <= 1.5


def test_off_hours_become_a_schedule_over_the_validity(bench):
    proposal = bench.ask(bench.cpu(busy=0.6, quiet=0.03), replicas=8)
    entries = proposal.target.extra["schedule"]
    assert entries[0]["start"] == END.isoformat()
    assert entries[-1]["end"] == (END + timedelta(days=7)).isoformat()
    for before, after in pairwise(entries):
        assert before["end"] == after["start"]
    at = {count: [] for count in {entry["min_replicas"] for entry in entries}}
    for entry in entries:
        at[entry["min_replicas"]].append(datetime.fromisoformat(entry["start"]))
    high, low = max(at), min(at)
    assert high == proposal.target.replicas
    assert low == 2
    assert all((start.hour, start.minute) == (6, 45) for start in at[high])  # an hour beside, 15 min early
    assert {start.weekday() for start in at[high]} == {0, 1, 2, 3, 4}
    assert 40 < proposal.claim.saving_percent < 90
    assert (
        f"save {proposal.claim.saving_percent:.0f} % of the replica-hours"
        in reason(proposal, "off_hours").text
    )


def trading_days(holidays=(), moved_from=None):
    """Returns the sessions of weekdays from 08:00 to 18:00, an hour earlier from a day on."""
    found = []
    for number in range(-20, 15):
        day = END + timedelta(days=number)
        if day.weekday() < 5 and day.date() not in holidays:
            early = moved_from is not None and day >= moved_from
            opened = day + timedelta(hours=7 if early else 8)
            found.append((opened, opened + timedelta(hours=10)))
    return {"XNYS": tuple(found)}


def busy_hours(proposal):
    """Returns the starts of the spans with the most replicas."""
    entries = proposal.target.extra["schedule"]
    most = max(entry["min_replicas"] for entry in entries)
    return [datetime.fromisoformat(entry["start"]) for entry in entries if entry["min_replicas"] == most]


def test_a_trading_service_is_small_on_its_exchanges_holidays(bench):
    cpu = bench.cpu(busy=0.6, quiet=0.03)
    holiday = (END + timedelta(days=2)).date()
    made = bench.ask(cpu, replicas=8, calendar="XNYS", sessions=trading_days([holiday]))
    assert "the sessions of XNYS" in reason(made, "off_hours").text
    assert {start.date() for start in busy_hours(made)} == {
        (END + timedelta(days=number)).date() for number in (0, 1, 3, 4)
    }
    unknown = bench.ask(cpu, replicas=8, calendar="XXXX", sessions=trading_days())
    assert "weekdays and weekends" in reason(unknown, "off_hours").text
    assert len(busy_hours(unknown)) == 5


def test_the_schedule_moves_with_daylight_saving_time(bench):
    """From Thursday on the exchange opens an hour earlier in UTC: its service is called earlier too."""
    sessions = trading_days(moved_from=END + timedelta(days=3))
    made = bench.ask(bench.cpu(busy=0.6, quiet=0.03), replicas=8, calendar="XNYS", sessions=sessions)
    hours = {start.weekday(): (start.hour, start.minute) for start in busy_hours(made)}
    assert hours == {0: (6, 45), 1: (6, 45), 2: (6, 45), 3: (5, 45), 4: (5, 45)}


def test_days_that_were_hardly_seen_have_no_off_hours(bench):
    """Four days before a Monday hold two working days: too few to call any of their hours quiet."""
    proposal = bench.ask(bench.cpu(busy=0.6, quiet=0.03, days=4), replicas=8)
    weekdays = [
        entry["min_replicas"]
        for entry in proposal.target.extra.get("schedule", [])
        if datetime.fromisoformat(entry["start"]).weekday() == 0
    ]
    assert set(weekdays) <= {proposal.target.replicas}


def at_hours(proposal, weekday, hour):
    """Returns the least replicas of a schedule in an hour of a weekday."""
    entries = proposal.target.extra["schedule"]
    begin, end = (datetime.fromisoformat(entries[number][key]) for number, key in ((0, "start"), (-1, "end")))
    instants = [begin + timedelta(hours=1) * number for number in range((end - begin) // timedelta(hours=1))]
    return min(
        entry["min_replicas"]
        for at in instants
        if at.weekday() == weekday and at.hour == hour
        for entry in entries
        if datetime.fromisoformat(entry["start"]) <= at < datetime.fromisoformat(entry["end"])
    )


def with_weekly_job(bench, days, weekday, hour=3):
    """Returns the use of a service that is busy in office hours, and as busy in one hour a week at night."""
    cpu = bench.cpu(busy=0.6, quiet=0.1, days=days, hours=(9, 17))
    steps = np.arange(cpu.size)
    day = (steps // DAY - days) % 7  # the history ends as a Monday begins
    cpu[(day == weekday) & (steps % DAY // 12 == hour)] = 0.6
    return cpu


@pytest.mark.parametrize("weekday", [0, 2, 4])
def test_a_weekly_job_keeps_its_hours(bench, weekday):
    made = bench.ask(with_weekly_job(bench, 14, weekday), replicas=8)
    assert at_hours(made, weekday, 3) >= 0.9 * at_hours(made, weekday, 12)
    assert at_hours(made, weekday, 21) < at_hours(made, weekday, 12)


def test_without_every_weekday_a_weekly_job_may_be_missed_so_there_is_no_schedule(bench):
    assert "schedule" in bench.ask(bench.cpu(busy=0.6, quiet=0.1, days=7), replicas=8).target.extra
    short = bench.cpu(busy=0.6, quiet=0.1, days=7)[DAY:]  # from Tuesday to Sunday
    proposal = bench.ask(short, bench.memory(days=6), replicas=8)
    assert "schedule" not in proposal.target.extra


def test_an_overlarge_minimum_of_an_hpa_falls_and_requests_stay(bench):
    hpa = HpaState(min_replicas=6, max_replicas=12, target_cpu_utilization_percent=70)
    proposal = bench.ask(bench.cpu(busy=0.3, quiet=0.05), hpa=hpa, replicas=6)
    assert proposal.target.hpa.min_replicas == 2
    assert proposal.target.hpa.max_replicas == 12
    assert proposal.target.containers[0].cpu_request_cores == 1.0
    assert 2 <= proposal.target.replicas < 6
    assert proposal.claim.saving_percent > 10
    found = reason(proposal, "orphaned_minimum")
    assert "The HPA's minimum of 6 can be 2" in found.text


def test_fewer_pods_of_an_hpa_have_memory_for_more_load_each(bench):
    memory = bench.memory(gib=0.5)
    memory[::2] *= 0.5  # half of it comes with load
    hpa = HpaState(min_replicas=6, max_replicas=12, target_cpu_utilization_percent=70)
    wide = {"memory_request_bytes": 4 * GIB}
    proposal = bench.ask(bench.cpu(busy=0.3, quiet=0.05), memory, hpa=hpa, replicas=6, container=wide)
    least = proposal.target.hpa.min_replicas
    assert least < 6
    rises = 0.25 * 6 / least
    assert proposal.target.containers[0].memory_request_bytes >= (0.25 + rises) * GIB


def test_an_hpa_that_scales_above_its_minimum_has_an_overlarge_one(bench):
    hpa = HpaState(min_replicas=6, max_replicas=20, target_cpu_utilization_percent=70)
    cpu = bench.cpu(busy=0.95, quiet=0.02)
    proposal = bench.ask(cpu, hpa=hpa, replicas=8)
    assert "overlarge_minimum" in codes(proposal) or proposal.target.hpa.min_replicas == 6


def test_spot_where_the_book_has_it_and_the_class_allows_it(bench, book):
    standard = bench.ask(book=book)
    extra = standard.target.extra
    assert (extra["node_type"], extra["spot_share"]) == ("medium", pytest.approx(0.5, abs=0.2))
    assert "at least 2 on demand" in reason(standard, "spot").text
    batch = bench.ask(book=book, service_class=ServiceClass.BATCH)
    assert batch.target.extra["spot_share"] == 1.0
    for kind, service_class in (("StatefulSet", ServiceClass.STANDARD), ("", ServiceClass.CRITICAL)):
        proposal = bench.ask(book=book, kind=kind, service_class=service_class)
        assert "spot_share" not in proposal.target.extra


def test_a_pod_too_large_for_a_node_type_is_not_placed_there(bench, book):
    small_only = msgspec.structs.replace(
        book, node_types=tuple(n for n in book.node_types if n.name == "small")
    )
    proposal = bench.ask(
        bench.cpu(busy=0.6), replicas=4, book=small_only, extra={"node_type": "small"},
        container={"cpu_request_cores": 2.0, "cpu_limit_cores": 4.0},
    )  # fmt: skip
    assert proposal.target.extra["node_type"] == "small"
    assert proposal.target.containers[0].cpu_request_cores <= 2.0


WIDE = {"cpu_request_cores": 3.0, "cpu_limit_cores": 2.0}


def test_the_latency_model_decides_how_few_replicas_keep_the_slo(bench):
    cpu = 0.4 + 0.2 * np.sin(np.arange(14 * DAY))  # varies at all hours, so that none is quiet

    def at_peak(slo, service):
        proposal = bench.ask(cpu, slo=slo, service=service, container=WIDE)
        return proposal.target.replicas, reason(proposal, "slo").text

    loose, said = at_peak(500.0, bench.served(cpu=cpu))
    tight, _ = at_peak(55.0, bench.served(cpu=cpu))
    assert (loose, tight) == (3, 6)
    assert "the latency model predicts" in said
    few_threads, _ = at_peak(500.0, bench.served(cpu=cpu, threads=6.0))
    assert few_threads > loose  # more cpu a replica does not help a pool that is used up


def test_without_a_latency_model_no_replica_goes_at_the_peak_and_it_says_what_is_assumed(bench):
    flat = {"latency_p99_ms": np.full(14 * DAY, 100.0), "requests_per_second": np.full(14 * DAY, 50.0)}
    for service, why in (({}, "no latency is measured"), (flat, "load varies too little")):
        proposal = bench.ask(slo=500.0, service=service)
        assert proposal.target.replicas == 6
        assert why in reason(proposal, "slo_unchecked").text
        assert "is assumed to be no slower" in reason(proposal, "slo_unchecked").text


def test_where_the_slo_is_missed_no_replica_goes_at_any_hour(bench):
    cpu = bench.cpu(busy=0.6, quiet=0.03)
    missed = bench.ask(cpu, slo=20.0, service=bench.served(cpu=cpu), replicas=8)
    assert missed.target.replicas == 8
    assert "schedule" not in missed.target.extra
    assert "was missed by 100% of the requests" in reason(missed, "slo_missed").text
    assert "schedule" in bench.ask(cpu, replicas=8).target.extra


def test_an_hpa_keeps_the_minimum_that_the_slo_needs(bench):
    cpu = bench.cpu(busy=0.3, quiet=0.05)
    hpa = HpaState(min_replicas=6, max_replicas=12, target_cpu_utilization_percent=70)
    service = bench.served(cpu=cpu)
    free = bench.ask(cpu, hpa=hpa, replicas=6, slo=500.0, service=service)
    held = bench.ask(cpu, hpa=hpa, replicas=6, slo=55.0, service=service)
    assert free.target.hpa.min_replicas < held.target.hpa.min_replicas


def test_idle_and_abandoned_services_are_called_so(bench):
    nothing = bench.cpu(busy=0.001)
    silent = bench.ask(nothing, service={"requests_per_second": np.zeros(14 * DAY)})
    called = bench.ask(nothing, service={"requests_per_second": np.full(14 * DAY, 3.0)})
    assert "it looks abandoned" in reason(silent, "abandoned").text
    assert "It was called all the same" in reason(called, "idle").text
    assert silent.target.replicas == 2  # availability asks for them
    assert silent.target.containers[0].cpu_request_cores == pytest.approx(0.030)
    assert not {"idle", "abandoned"} & codes(bench.ask())


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"metrics": {"oom_kills": np.eye(1, 14 * DAY)}}, "unstable", "killed for lack of memory"),
        ({"metrics": {"cpu_throttled_fraction": np.full(14 * DAY, 0.4)}}, "unstable", "was throttled"),
        ({"container": {"cpu_request_cores": None}}, "unknown_state", "unknown"),
        (
            {"container": {"cpu_request_cores": 0.1, "memory_request_bytes": 2**28}, "replicas": 1},
            "not_applicable",
            "may be too small",
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
    assert again.no_change_needed
    assert again.description.startswith("No change needed")
    assert "optimality" in codes(again)


def test_an_owner_keeps_what_it_owns(bench):
    vpa = bench.ask(vpa_mode="Auto")
    assert vpa.target.containers[0].cpu_request_cores == 1.0
    assert vpa.target.replicas < 6
    keda = bench.ask(keda="web")
    assert keda.target.replicas == 6
    assert "replicas_owned" in codes(keda)


def test_what_is_scaled_to_zero_has_no_cost_to_lower(bench):
    answer = bench.ask(replicas=0)
    assert answer.code is DeclineCode.NOT_APPLICABLE
    assert answer.reason == "It is scaled to zero, so there is no cost to lower."


@pytest.mark.parametrize("unknown", ["cpu", "memory"])
@pytest.mark.parametrize("scaled", [False, True])
def test_replicas_stay_where_use_of_what_they_request_is_not_measured(bench, unknown, scaled):
    hpa = HpaState(min_replicas=6, max_replicas=9, target_cpu_utilization_percent=60) if scaled else None
    nothing = np.full(14 * DAY, np.nan)
    made = bench.ask(**{unknown: nothing}, replicas=6, hpa=hpa)
    if isinstance(made, Declined):
        return
    assert made.target.replicas == 6
    assert made.target.hpa == hpa
    assert reason(made, "use_not_measured").data == {"requests": [f"main.{unknown}_request"]}


def test_a_job_that_did_not_run_lately_is_costed_by_its_runs(bench):
    cpu = bench.cpu()
    cpu[:12], cpu[24:] = np.nan, np.nan
    memory = np.where(np.isfinite(cpu), 0.5 * GIB, np.nan)
    features = usage_features(cpu[None], 7 * DAY, 0.99, 0.01)
    assert features.reference == pytest.approx(0.2, rel=0.1)
    assert usage_features(memory[None], 7 * DAY, 1.0, 1.0).reference == pytest.approx(0.5 * GIB)
