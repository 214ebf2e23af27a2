import numpy as np
import pytest

from perfopt.plugin import DeclineCode, HpaState, Slo


def codes(proposal):
    return [reason.code for reason in proposal.reasons]


def reason(proposal, code):
    return next(found for found in proposal.reasons if found.code == code)


def test_a_throttled_service_gets_the_limit_that_keeps_its_objective(bench):
    proposal = bench.ask(slo=Slo(latency_ms=100.0))
    limit = proposal.target.containers[0].cpu_limit_cores
    assert 0.5 < limit < 0.9
    assert bench.p99(bench.service(), rate=80, limit=limit) < 100
    assert "bottleneck_cfs_throttling" in codes(proposal)
    assert "500m" in proposal.description
    assert "p99 below 100 ms" in proposal.description


def test_only_a_raised_limit_has_a_measured_prior(bench):
    raised, kept = bench.ask(slo=Slo(latency_ms=100.0)), bench.ask(slo=Slo(latency_ms=400.0), limit=0.9)
    assert raised.prior.mean > 0.5
    assert "docs/research/latency.md" in raised.prior.source
    assert kept.prior is None


def test_what_is_claimed_of_a_limit_holds_at_that_limit(bench):
    proposal = bench.ask(slo=Slo(latency_ms=120.0), limit=0.52)
    claim, limit = proposal.claim, proposal.target.containers[0].cpu_limit_cores
    low, high = claim.latency_interval_ms
    rate = np.sort(bench.metrics()[1]["requests_per_second"])
    half = rate[np.searchsorted(rate.cumsum(), rate.sum() / 2)]
    assert low < bench.p99(bench.service(), rate=half, limit=limit) < high
    assert high - low <= 0.5 * claim.latency_ms * 1.02
    assert claim.latency_now_ms > claim.latency_ms
    assert claim.performance_gain_percent > 10


def test_a_kept_objective_changes_nothing_and_tells_what_it_leaves_to_spare(bench):
    proposal = bench.ask(slo=Slo(latency_ms=400.0), limit=0.9)
    assert proposal.no_change_needed
    assert proposal.target.containers[0].cpu_limit_cores == 0.9
    slack = reason(proposal, "slo_slack").data
    assert slack["least_cpu_limit_cores"] < 0.6
    assert bench.p99(bench.service(), rate=80, limit=slack["least_cpu_limit_cores"]) < 400
    assert slack["latency_slack_ms"] > 200


def test_the_unchanged_latency_is_claimed_where_it_is_steady(bench):
    claim = bench.ask(slo=Slo(latency_ms=400.0), limit=0.9).claim
    low, high = claim.latency_now_interval_ms
    assert low < claim.latency_now_ms < high
    assert high - low < 0.5 * claim.latency_now_ms


def test_nothing_is_claimed_of_latency_that_wanders(bench):
    snapshot = bench.snapshot(slo=Slo(latency_ms=2000.0), limit=0.9)
    drift = np.exp(np.linspace(0, 1.0, snapshot.grid.size))
    for name in ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms"):
        snapshot.service[name][:] *= drift
    claim = bench.ask(snapshot).claim
    assert claim.latency_now_interval_ms is None
    assert claim.latency_ms is None


def test_a_service_held_by_its_threads_is_told_so_and_not_given_cpu(bench):
    held = bench.service(wait=0.04, threads=4.0)
    proposal = bench.ask(service=held, cpu=0.003, limit=0.45, peak=80.0, slo=Slo(latency_ms=120.0))
    assert "bottleneck_thread_pool" in codes(proposal)
    assert "not CPU" in reason(proposal, "bottleneck_thread_pool").text
    assert 3 < reason(proposal, "bottleneck_thread_pool").data["threads_inferred"] < 6
    assert proposal.target.containers[0].cpu_limit_cores == 0.45
    assert proposal.target.replicas > 1


def test_replicas_that_an_autoscaler_sets_are_left_to_it(bench):
    held = bench.service(wait=0.04, threads=4.0)
    hpa = HpaState(max_replicas=10, target_cpu_utilization_percent=70)
    options = {"service": held, "cpu": 0.003, "limit": 0.45, "slo": Slo(latency_ms=120.0)}
    declined = bench.ask(**options, hpa=hpa)
    assert declined.code is DeclineCode.OWNED_BY_CONTROLLER
    assert "autoscaler" in declined.reason


def test_waiting_downstream_is_not_ours_to_fix(bench):
    declined = bench.ask(service=bench.service(wait=0.2), slo=Slo(latency_ms=200.0))
    assert declined.code is DeclineCode.NOT_APPLICABLE
    assert "downstream" in declined.reason


@pytest.mark.parametrize(
    ("metrics", "word"),
    [
        ({"thread_pool_busy": 8.0, "thread_pool_max": 8.0}, "thread pool is full"),
        ({"db_pool_waiting": 2.0}, "database connection"),
        ({"jvm_gc_pause_fraction": 0.2}, "Garbage collection"),
    ],
)
def test_what_a_metric_shows_to_be_exhausted_is_named(bench, metrics, word):
    size = bench.snapshot().grid.size
    declined = bench.ask(extra={name: np.full(size, value) for name, value in metrics.items()})
    assert declined.code is DeclineCode.NOT_APPLICABLE
    assert word in declined.reason
    assert "CPU and replicas are not the bottleneck" in declined.reason


def test_memory_at_its_limit_is_named(bench):
    snapshot = bench.snapshot()
    snapshot.series("main", "memory_bytes").values[:] = 2.0**30
    assert "within 5 % of its limit" in bench.ask(snapshot).reason


def test_several_replicas_share_the_load(bench):
    alone, shared = bench.ask(), bench.ask(replicas=4)
    limits = [p.target.containers[0].cpu_limit_cores for p in (alone, shared)]
    assert limits[0] == pytest.approx(limits[1])
    assert shared.target.replicas == 4


def test_without_a_limit_more_replicas_are_the_only_means(bench):
    options = {"cpu": 0.03, "limit": 2.9, "service": bench.service(cores=2.9, threads=4.0)}
    proposal = bench.ask(stated=False, slo=Slo(latency_ms=330.0), **options)
    assert proposal.target.containers[0].cpu_limit_cores is None
    assert proposal.target.replicas > 1


def test_a_replica_of_many_cores_is_several_parts(bench):
    options = {"limit": 5.0, "cpu": 0.05, "peak": 85.0, "service": bench.service(cores=8.0)}
    proposal = bench.ask(replicas=2, slo=Slo(latency_ms=400.0), **options)
    assert proposal.target.replicas > 2 or proposal.target.containers[0].cpu_limit_cores > 5.0


def test_history_later_than_the_instant_changes_nothing(bench):
    whole = bench.snapshot()
    cut = whole.slice(0, 2880)
    whole.service["latency_p99_ms"][2880:] = 1e6
    assert bench.ask(cut) == bench.ask(bench.snapshot().slice(0, 2880))


def test_misses_that_load_does_not_explain_are_not_paid_for_with_cpu(bench):
    snapshot = bench.snapshot(slo=Slo(latency_ms=100.0), limit=1.5)
    bad = np.random.default_rng(3).random(snapshot.grid.size) < 0.1
    snapshot.service["latency_p99_ms"][bad] *= 8
    declined = bench.ask(snapshot)
    assert declined.code is DeclineCode.UNSTABLE
    assert "Load does not explain it" in declined.reason
