import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import DeclineCode, HpaState, Proposal, ServiceClass, Slo

DAY = 288


def spans(proposal):
    return [
        (datetime.fromisoformat(s["start"]), datetime.fromisoformat(s["end"]), s["min_replicas"])
        for s in proposal.target.extra["schedule"]
    ]


def minimum_at(proposal, instant):
    return next(count for start, end, count in spans(proposal) if start <= instant < end)


def with_workload(snapshot, **fields):
    return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, **fields))


def test_the_minimum_follows_the_day_and_holds_its_need(bench):
    proposal = bench.ask()
    now = bench.snapshot().grid.end
    noon, night = now + timedelta(hours=12), now + timedelta(hours=23, minutes=50)
    assert 8 <= minimum_at(proposal, noon) <= 12
    assert 2 <= minimum_at(proposal, night) <= 4
    assert "ahead of demand" in proposal.description


def test_the_schedule_covers_the_validity_without_gaps(bench):
    found = spans(bench.ask(validity=timedelta(days=3)))
    now = bench.snapshot().grid.end
    assert found[0][0] == now
    assert found[-1][1] == now + timedelta(days=3)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    assert all(before[2] != after[2] for before, after in itertools.pairwise(found))


def test_rises_begin_a_start_up_early_and_falls_do_not(bench):
    slow = with_workload(bench.snapshot(), annotations={"perfopt.io/startup-seconds": "600"})
    proposal = bench.ask(slow)
    rises = [after for before, after in zip(spans(proposal), spans(proposal)[1:], strict=False)
             if after[2] > before[2]]  # fmt: skip
    assert rises
    assert all((start + timedelta(seconds=600)).minute % 30 == 0 for start, _, _ in rises)
    assert any("600 s" in reason.text for reason in proposal.reasons)


def test_weekends_are_planned_apart_where_they_differ(bench):
    total = bench.wave()
    days = np.arange(total.size) // DAY
    total[(days % 7) >= 5] *= 0.2  # the history begins on a Monday
    proposal = bench.ask(bench.snapshot(total))
    now = bench.snapshot().grid.end
    assert minimum_at(proposal, now + timedelta(days=5, hours=12)) <= 4
    assert minimum_at(proposal, now + timedelta(days=4, hours=12)) >= 8


def test_critical_services_get_more_and_batch_less(bench):
    floors = {}
    total = bench.wave(noise=0.3)
    for kind in ServiceClass:
        proposal = bench.ask(with_workload(bench.snapshot(total), service_class=kind))
        floors[kind] = sum(count * (end - start).total_seconds() for start, end, count in spans(proposal))
    assert floors[ServiceClass.CRITICAL] > floors[ServiceClass.STANDARD] > floors[ServiceClass.BATCH]


def test_jumps_of_demand_that_no_plan_holds_lower_the_target(bench):
    calm = bench.ask().target.hpa.target_cpu_utilization_percent
    total = bench.wave()
    total[np.random.default_rng(1).choice(total.size, total.size // 80, replace=False)] *= 4
    jumpy = bench.ask(bench.snapshot(total)).target.hpa.target_cpu_utilization_percent
    assert jumpy < 60 < calm


def bursts(every, on, *, days=14, low=1.0, high=6.0):
    """Returns total cores that burst for some of the steps of a period."""
    steps = np.arange(days * DAY)
    noise = np.random.default_rng(1).lognormal(0, 0.05, steps.size)
    return np.where(steps % every < on, high, low) * noise


@pytest.mark.parametrize(("every", "on"), [(12, 1), (24, 2), (12, 6)])
@pytest.mark.parametrize(
    "hpa", [None, HpaState(min_replicas=2, max_replicas=20, target_cpu_utilization_percent=70)]
)
def test_bursts_that_no_short_schedule_follows_are_left_alone_with_the_remedy(bench, every, on, hpa):
    declined = bench.ask(bench.snapshot(bursts(every, on), replicas=4, hpa=hpa))
    assert declined.code is DeclineCode.NOT_APPLICABLE
    assert "one of at most 56 runs" in declined.reason
    assert "CPU limit well above its request" in declined.reason


@pytest.mark.parametrize("validity", [1, 3, 7])
def test_a_schedule_has_at_most_eight_entries_a_day(bench, validity):
    for total in (bench.wave(noise=0.3), bench.wave(low=20, high=80), bursts(72, 12)):
        proposal = bench.ask(bench.snapshot(total), validity=timedelta(days=validity))
        assert 1 < len(proposal.target.extra["schedule"]) <= 8 * validity


def test_what_is_expected_to_run_is_no_less_than_the_schedule(bench):
    proposal = bench.ask(bench.snapshot(bursts(72, 12)))
    hours = sum(count * (end - start).total_seconds() for start, end, count in spans(proposal))
    assert proposal.target.replicas >= np.floor(hours / timedelta(days=7).total_seconds())


def test_jumps_of_the_first_day_that_a_plan_holds_later_lower_no_target(bench):
    held = bench.ask(bench.snapshot(bursts(72, 12), replicas=4)).target.hpa
    assert held.target_cpu_utilization_percent == 75


def test_a_latency_objective_that_is_missed_when_busy_lowers_the_target(bench):
    total = bench.wave(noise=0.01)
    latency = np.where(total / 10 > 0.5, 400.0, 50.0)
    plain = bench.snapshot(total, service={"latency_p99_ms": latency})
    asked = with_workload(plain, slo=Slo(latency_ms=200.0))
    proposal = bench.ask(asked)
    assert proposal.target.hpa.target_cpu_utilization_percent <= 50
    assert bench.ask(plain).target.hpa.target_cpu_utilization_percent > 60
    assert any("the latency objective was missed" in reason.text for reason in proposal.reasons)


def test_requests_per_core_are_told(bench):
    total = bench.wave()
    proposal = bench.ask(bench.snapshot(total, service={"requests_per_second": 50 * total}))
    assert any("A core served 50 requests/s" in reason.text for reason in proposal.reasons)


def test_a_forecast_that_was_wrong_lately_falls_back_to_reacting_and_says_so(bench):
    total = bench.wave()
    trusted = bench.ask(bench.snapshot(total))
    total[-2 * DAY :] *= 2.5
    proposal = bench.ask(bench.snapshot(total))
    assert "schedule" not in proposal.target.extra
    assert "recent demand forecasts were inaccurate" in proposal.description
    assert any(reason.code == "forecast_not_trusted" for reason in proposal.reasons)
    assert (
        proposal.target.hpa.target_cpu_utilization_percent
        < trusted.target.hpa.target_cpu_utilization_percent - 10
    )


def test_a_scaled_object_asks_the_service_for_the_plan_and_stays_on_cpu(bench):
    proposal = bench.ask()
    made = proposal.target.extra["keda_scaled_object"]
    plan, cpu = made["spec"]["triggers"]
    assert plan["metadata"]["url"].endswith("/api/v1/optimization/scaling/example/demand")
    assert plan["metadata"]["valueLocation"] == "replicas.needed"
    assert cpu["metadata"]["value"] == str(proposal.target.hpa.target_cpu_utilization_percent)
    assert made["spec"]["minReplicaCount"] == proposal.target.hpa.min_replicas
    behavior = made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == proposal.target.hpa.behavior


def test_an_autoscalers_maximum_and_other_metrics_stay(bench):
    now = HpaState(max_replicas=60, target_cpu_utilization_percent=40, other_metrics=("queue",))
    settings = bench.ask(hpa=now).target.hpa
    assert settings.max_replicas == 60
    assert settings.other_metrics == ("queue",)


def test_saving_is_claimed_where_fewer_replicas_are_expected(bench):
    assert bench.ask(replicas=20).claim.saving_percent > 40
    tight = bench.ask(bench.snapshot(bench.wave(low=8, high=8), replicas=9))
    assert tight.claim.saving_percent is None


def test_what_comes_later_changes_nothing(bench):
    total = bench.wave()
    altered = total.copy()
    altered[12 * DAY :] *= 5
    answers = [bench.ask(bench.snapshot(values).slice(0, 12 * DAY)) for values in (total, altered)]
    assert msgspec.json.encode(answers[0]) == msgspec.json.encode(answers[1])


def test_it_is_quick(bench):
    import time

    bench.ask()
    snapshot = bench.snapshot()
    begin = time.process_time()
    for _ in range(10):
        assert isinstance(bench.ask(snapshot), Proposal)
    assert (time.process_time() - begin) / 10 < 0.02


@pytest.mark.parametrize("days", [2.5, 3.5, 6])
def test_short_histories_still_give_a_plan(bench, days):
    proposal = bench.ask(bench.snapshot(bench.wave(days=days)), validity=timedelta(days=5))
    assert isinstance(proposal, Proposal)


@pytest.mark.parametrize("keda", [None, "consumer"])
@pytest.mark.parametrize("least", [0, 1])
def test_an_autoscaler_that_goes_by_other_metrics_only_is_left_as_it_is(bench, keda, least):
    snapshot = bench.snapshot(bench.wave())
    hpa = HpaState(min_replicas=least, max_replicas=8, other_metrics=("s0-kafka-orders",))
    state = msgspec.structs.replace(snapshot.workload.state, hpa=hpa, keda=keda)
    kept = bench.ask(replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, state=state)))
    assert kept.target == state
    assert kept.no_change_needed
    assert kept.claim.saving_percent is None
    (reason,) = kept.reasons
    assert reason.code == "held_by_other_metrics"
    assert "s0-kafka-orders" in reason.text
    assert "s0-kafka-orders" in kept.description


def test_replicas_that_another_metric_may_hold_are_not_lowered(bench):
    snapshot = bench.snapshot(bench.wave())
    mixed = {"min_replicas": 1, "max_replicas": 8, "target_cpu_utilization_percent": 60}
    free = bench.ask(with_hpa(bench, snapshot, **mixed))
    held = bench.ask(with_hpa(bench, snapshot, **mixed, other_metrics=("s0-kafka-orders",)))
    assert held.target.replicas >= snapshot.workload.state.replicas
    assert held.claim.saving_percent is None or held.claim.saving_percent <= max(
        free.claim.saving_percent or 0.0, 0.0
    )
    reason = next(one for one in held.reasons if one.code == "held_by_other_metrics")
    assert "s0-kafka-orders" in reason.text
    assert "keda_scaled_object" in free.target.extra
    assert "keda_scaled_object" not in held.target.extra  # it would be without the other trigger


def with_hpa(bench, snapshot, *, unknown=(), **hpa):
    scaled = HpaState(**({"min_replicas": 3, "max_replicas": 40} | hpa))
    state = msgspec.structs.replace(snapshot.workload.state, hpa=scaled)
    return with_workload(snapshot, state=state, unknown_autoscalers=unknown)


def test_the_minimum_is_not_lowered_where_another_metric_may_hold_it(bench):
    quiet = bench.snapshot(bench.wave(low=0.2, high=0.8))
    free = bench.ask(with_hpa(bench, quiet, min_replicas=5))
    cpu = {"min_replicas": 5, "target_cpu_utilization_percent": 60}
    held = bench.ask(with_hpa(bench, quiet, **cpu, other_metrics=("lag",)))
    assert free.target.hpa.min_replicas < 5 == held.target.hpa.min_replicas


def test_the_request_falls_with_the_target_only_where_all_autoscalers_are_seen(bench):
    snapshot = bench.snapshot()
    seen = bench.ask(with_hpa(bench, snapshot, target_cpu_utilization_percent=30))
    assert seen.target.containers[0].cpu_request_cores < 0.9
    for others in ({"unknown": ("second",)}, {"other_metrics": ("s0-rabbitmq", "s1-cron")}):
        unseen = bench.ask(with_hpa(bench, snapshot, target_cpu_utilization_percent=30, **others))
        assert unseen.target.containers == snapshot.workload.state.containers
        assert unseen.target.hpa.target_cpu_utilization_percent == 30
        assert {one.code for one in unseen.reasons} >= {"held_by_other_metrics"}


def test_a_minimum_beside_other_metrics_rises_by_demand_only(bench):
    quiet = bench.snapshot(bench.wave(low=0.05, high=0.2))
    cpu = {"min_replicas": 1, "target_cpu_utilization_percent": 60}
    free = bench.ask(with_hpa(bench, quiet, **cpu))
    held = bench.ask(with_hpa(bench, quiet, **cpu, other_metrics=("s0-rabbitmq", "s1-cron", "cpu")))
    assert (free.target.hpa.min_replicas, held.target.hpa.min_replicas) == (2, 1)


def office_hours(bench, *, replicas=2, hpa=None, days=14):
    """Returns a service that runs from 08:00 to 18:00 on weekdays and is scaled to zero otherwise."""
    steps = np.arange(days * DAY)
    ran = np.where((steps // DAY % 7 < 5) & (steps % DAY >= 96) & (steps % DAY < 216), 2.0, 0.0)
    total = np.where(ran > 0, 1.1 + 0.1 * np.random.default_rng(3).random(steps.size), np.nan)
    snapshot = bench.snapshot(total, replicas=replicas, recorded=np.maximum(ran, 1))
    state = msgspec.structs.replace(snapshot.workload.state, hpa=hpa)
    recorded = {**snapshot.service, "replicas": ran}
    return with_workload(replace(snapshot, service=recorded), state=state)


def test_a_service_scaled_to_zero_is_planned_by_the_hours_in_which_it_runs(bench):
    hpa = HpaState(min_replicas=1, max_replicas=4, other_metrics=("s0-cron-office",))
    proposal = bench.ask(office_hours(bench, hpa=hpa))
    now = bench.snapshot().grid.end
    for day in range(7):
        at = now + timedelta(days=day, hours=12)
        assert minimum_at(proposal, at) == (2 if day < 5 else 0)
        assert minimum_at(proposal, at + timedelta(hours=8)) == 0
    assert proposal.target.hpa == hpa
    assert proposal.description.startswith("Keep the autoscaler")
    reason = next(one for one in proposal.reasons if one.code == "scaled_to_zero")
    assert reason.data == {"stopped_share": 0.6951, "planned_share": 0.7024}
    assert proposal.claim.saving_percent is None


def test_a_service_run_by_others_keeps_the_replicas_that_ran_and_a_request_that_fits_them(bench):
    hpa = HpaState(min_replicas=1, max_replicas=4, other_metrics=("s0-cron-office",))
    large = office_hours(bench, hpa=hpa)
    (app,) = large.workload.state.containers
    state = msgspec.structs.replace(
        large.workload.state, containers=(msgspec.structs.replace(app, cpu_request_cores=2.0),)
    )
    proposal = bench.ask(with_workload(large, state=state))
    assert {count for _, _, count in spans(proposal)} == {0, 2}
    (enough,) = proposal.merge.enough.values()
    # Two replicas carry 1.1 to 1.2 cores, and what forecasts of that missed.
    assert 1.2 / 2 < enough < 0.8


def test_a_request_that_an_autoscaler_follows_is_held_as_it_is(bench):
    assert bench.ask().merge.enough == {}


def test_hours_without_replicas_are_no_saving(bench):
    proposal = bench.ask(office_hours(bench))
    assert proposal.claim.saving_percent is None
    assert proposal.target.hpa.min_replicas == 1


def test_a_service_that_sleeps_now_is_left_asleep(bench):
    assert bench.ask(office_hours(bench, replicas=0)).target.replicas == 0


def test_a_maximum_covers_the_highest_demand_that_was_seen(bench):
    cores = bench.wave()
    cores[-12:] = 24.0
    target = bench.ask(total=cores).target
    each = target.hpa.target_cpu_utilization_percent / 100 * target.containers[0].cpu_request_cores
    assert target.hpa.max_replicas >= 24 / each


def test_the_minimum_of_a_service_that_was_stopped_is_of_the_time_in_which_it_ran(bench):
    recorded = np.full(14 * DAY, 3.0)
    recorded[-DAY:] = 0
    hpa = HpaState(min_replicas=2, max_replicas=9, target_cpu_utilization_percent=70)
    snapshot = bench.snapshot(np.full(recorded.size, 0.3), replicas=1, hpa=hpa)
    series = snapshot.containers["main"]["cpu_cores"]
    cpu = np.where(recorded > 0, series.values, np.nan)
    stopped = replace(
        with_workload(snapshot, state=msgspec.structs.replace(snapshot.workload.state, replicas=0)),
        containers={"main": {"cpu_cores": replace(series, values=cpu)}},
        service={"replicas": recorded},
    )
    answer = bench.ask(stopped)
    assert answer.target.hpa.min_replicas == 2
    assert answer.target.replicas == 0


def test_a_service_that_may_scale_to_zero_still_may(bench):
    held = bench.ask(with_hpa(bench, bench.snapshot(), min_replicas=0, other_metrics=("lag",)))
    assert held.target.hpa.min_replicas == 0


@pytest.mark.parametrize("quiet", [(13, 24), (0, 24)])
def test_a_half_day_and_a_closed_one_without_a_calendar_close_no_hour_of_their_weekday(bench, quiet):
    steps = np.arange(28 * DAY)
    day, hour = steps // DAY, steps % DAY / 12
    trades = (day % 7 < 5) & (hour >= 9) & (hour < 16)
    trades &= (day != 25) | (hour < quiet[0]) | (hour >= quiet[1])
    total = np.where(trades, 3.5 + 0.2 * np.random.default_rng(3).random(steps.size), 0.02)
    snapshot = bench.snapshot(total, replicas=4)
    proposal = bench.ask(with_hpa(bench, snapshot, min_replicas=1, target_cpu_utilization_percent=70))
    for weekday in range(5):
        for at in (10, 14, 15.5):
            instant = snapshot.grid.end + timedelta(days=weekday, hours=at)
            assert minimum_at(proposal, instant) >= 4
