"""The demand on a workload in total, or why there is none to plan for."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Basis, DeclineCode, HpaState, OptimizationType, PodSeries, WorkloadId, decline
from perfopt.testing import make_context
from perfopt_scaling.demand import total_demand

DAY = 288


def demand(snapshot, validity=timedelta(days=7)):
    return total_demand(make_context(snapshot, validity))


def abstained(code, reason):
    return decline(OptimizationType.SCALING_OPTIMIZATION, code, reason)


def with_workload(snapshot, **fields):
    return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, **fields))


def with_state(snapshot, **fields):
    return with_workload(snapshot, state=msgspec.structs.replace(snapshot.workload.state, **fields))


def test_demand_is_the_use_of_all_replicas_from_the_first_sample_on(bench):
    total = np.full(14 * DAY, 6.0)
    total[: 2 * DAY] = np.nan
    made = demand(bench.snapshot(total, replicas=3, request=0.5))
    assert (made.begin, made.request_cores, made.cores.size) == (2 * DAY, 0.5, 12 * DAY)
    np.testing.assert_allclose(made.cores, 6.0)
    assert set(made.replicas) == {3.0}
    assert not made.stopped.any()


def test_where_it_was_scaled_to_zero_none_ran(bench):
    night = np.arange(14 * DAY) % DAY >= 192
    recorded = np.where(night, 0.0, 3.0)
    snapshot = replace(bench.snapshot(np.where(night, 0.0, 6.0)), running=~night)
    snapshot = replace(snapshot, service={"replicas": recorded})
    cpu = np.where(night, np.nan, 2.0)[None, :]
    series = snapshot.series("main", "cpu_cores")
    containers = {"main": {"cpu_cores": replace(series, values=cpu)}}
    made = demand(replace(snapshot, containers=containers))
    np.testing.assert_array_equal(made.stopped, night)
    np.testing.assert_array_equal(made.replicas, recorded)
    np.testing.assert_allclose(made.cores, np.where(night, np.nan, 6.0))


@pytest.mark.parametrize("kind", ["DaemonSet", "Node", "pod", "CRONJOB", "ScaledJob", "TaskRun"])
def test_a_kind_without_replicas_is_named(bench, kind):
    other = with_workload(bench.snapshot(), id=WorkloadId(name="a", namespace="b", kind=kind))
    assert demand(other) == abstained(DeclineCode.NOT_APPLICABLE, f"A {kind} has no replicas to set.")


def test_replicas_of_a_kind_that_an_operator_scales_are_its_own(bench):
    known = with_workload(bench.snapshot(), id=WorkloadId(name="a", namespace="b", kind="Cluster"))
    declined = demand(known)
    assert declined.code is DeclineCode.OWNED_BY_CONTROLLER
    assert declined.reason.startswith("The operator of the kind Cluster sets its replicas")
    scaled = with_state(known, hpa=HpaState(min_replicas=2, max_replicas=9))
    assert demand(scaled).replicas.size  # something may set them: an autoscaler does


def test_what_is_not_known_of_replicas_and_requests_is_said(bench):
    known = bench.snapshot()
    unknown = DeclineCode.UNKNOWN_STATE
    assert demand(with_state(known, replicas=None)) == abstained(
        unknown, "The number of replicas is unknown."
    )
    assert demand(with_state(known, basis=Basis.ASSUMED_FROM_LIMIT)) == abstained(
        unknown,
        "Replicas and requests are assumed, not known: state them in a services file if this series is a"
        " service that can run several replicas.",
    )
    for request in (None, 0.0):
        assert demand(bench.snapshot(request=request)) == abstained(
            unknown, "A container has no CPU request, so the capacity of a replica is unknown."
        )


@pytest.mark.parametrize(("steps", "enough"), [(2 * DAY, True), (2 * DAY - 1, False)])
def test_two_days_are_needed_however_short_the_validity(bench, steps, enough):
    made = demand(bench.snapshot(np.full(steps, 6.0)), timedelta(hours=6))
    if enough:
        assert made.begin == 0
    else:
        assert made.code is DeclineCode.SHORT_HISTORY
        assert made.optimization_type is OptimizationType.SCALING_OPTIMIZATION


def shards(snapshot, *cores, kind="StatefulSet"):
    """Gives a workload one pod for each of some constant uses."""
    series = snapshot.series("main", "cpu_cores")
    size = series.values.shape[1]
    pods = tuple(f"db-{number}" for number in range(len(cores)))
    values = np.repeat(np.array(cores)[:, None], size, axis=1)
    containers = {"main": {"cpu_cores": PodSeries(pods, values)}}
    return with_workload(
        replace(snapshot, containers=containers), id=WorkloadId(name="db", namespace="b", kind=kind)
    )


def test_a_stateful_set_with_one_hot_pod_keeps_its_replicas(bench):
    answer = demand(shards(bench.snapshot(replicas=3), 0.8, 0.2, 0.1))
    assert answer == abstained(
        DeclineCode.NOT_APPLICABLE,
        "Its pods do not share the load: db-0 uses 0.80 cores on average, the others 0.15. Another number of"
        " replicas moves no load from one to the others.",
    )


@pytest.mark.parametrize(
    ("cores", "kind"),
    [
        ((0.44, 0.2, 0.1), "StatefulSet"),
        ((0.8, 0.2, 0.1), "Deployment"),
        ((0.8,), "StatefulSet"),
        ((0.0, 0.0), "StatefulSet"),
    ],
)
def test_pods_that_share_the_load_or_are_equals_are_planned(bench, cores, kind):
    answer = demand(shards(bench.snapshot(replicas=len(cores)), *cores, kind=kind))
    assert answer.request_cores == 1.0


def test_an_autoscaler_that_is_not_seen_for_sure_is_named_and_left_alone(bench):
    hidden = with_workload(bench.snapshot(), unknown_autoscalers=("keda-hpa-orders",))
    assert demand(hidden) == abstained(
        DeclineCode.OWNED_BY_CONTROLLER,
        "It may be scaled by keda-hpa-orders, of which the metrics do not show enough: a second autoscaler"
        " would work against it.",
    )


@pytest.mark.parametrize("samples", [None, np.nan])
def test_a_container_that_requests_and_has_no_samples_is_named(bench, samples):
    known = bench.snapshot()
    (main,) = known.workload.state.containers
    sidecar = msgspec.structs.replace(main, name="proxy")
    beside = with_state(known, containers=(main, sidecar))
    if samples is not None:
        series = known.series("main", "cpu_cores")
        empty = {"cpu_cores": replace(series, values=np.full_like(series.values, samples))}
        beside = replace(beside, containers={**known.containers, "proxy": empty})
    assert demand(beside) == abstained(
        DeclineCode.LOW_COVERAGE,
        "proxy requests CPU and has no sample of cpu_cores, so the demand on a replica is unknown: let its"
        " metrics through.",
    )


def test_what_is_missing_of_the_history_is_named_by_its_metric(bench):
    assert "of cpu_cores" in demand(bench.snapshot(np.full(DAY, 6.0))).reason
