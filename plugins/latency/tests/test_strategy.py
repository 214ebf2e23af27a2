from datetime import timedelta

import numpy as np
import pytest

from perfopt.plugin import DeclineCode, Slo


def test_without_an_objective_it_says_how_to_state_one(bench):
    declined = bench.ask(slo=None)
    assert declined.code is DeclineCode.NOT_APPLICABLE
    assert "perfopt.io/slo-latency-ms" in declined.reason


def test_an_annotation_that_makes_no_sense_is_named(bench):
    snapshot = bench.snapshot(slo=None)
    snapshot.workload.annotations["perfopt.io/slo-latency-ms"] = "soon"
    assert "'soon'" in bench.ask(snapshot).reason


@pytest.mark.parametrize("mode", ["Auto", "Recreate", "Initial"])
def test_limits_that_a_vpa_sets_are_left_to_it(bench, mode):
    declined = bench.ask(vpa_mode=mode)
    assert declined.code is DeclineCode.OWNED_BY_CONTROLLER
    assert mode in declined.reason


def test_without_latency_there_is_nothing_to_learn(bench):
    snapshot = bench.snapshot()
    for name in list(snapshot.service):
        if name.startswith("latency"):
            del snapshot.service[name]
    assert bench.ask(snapshot).code is DeclineCode.NO_DATA


def test_without_requests_there_is_nothing_to_learn(bench):
    snapshot = bench.snapshot()
    del snapshot.service["requests_per_second"]
    assert bench.ask(snapshot).code is DeclineCode.NO_DATA


def test_less_than_three_sevenths_of_the_validity_is_too_short(bench):
    assert bench.ask(days=2.9).code is DeclineCode.SHORT_HISTORY
    assert (
        getattr(bench.ask(days=2.9, validity=timedelta(days=1)), "code", None)
        is not DeclineCode.SHORT_HISTORY
    )


def test_mostly_missing_latency_is_too_little(bench):
    snapshot = bench.snapshot()
    for name in ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms"):
        snapshot.service[name][np.arange(snapshot.grid.size) % 3 != 0] = np.nan
    assert bench.ask(snapshot).code is DeclineCode.LOW_COVERAGE


def test_a_service_without_a_request_lately_has_no_load_to_plan_for(bench):
    snapshot = bench.snapshot()
    snapshot.service["requests_per_second"][-8 * 288 :] = 0.0
    answer = bench.ask(snapshot)
    assert answer.code is DeclineCode.NO_DATA
    assert "No request" in answer.reason


def test_latency_that_faults_move_is_not_explained_by_load(bench):
    snapshot = bench.snapshot(slo=Slo(latency_ms=100.0), limit=2.0)
    half = snapshot.service["requests_per_second"] < 45
    for name in ("latency_p90_ms", "latency_p95_ms", "latency_p99_ms"):
        snapshot.service[name][half] *= 15
        snapshot.service[name][~half] /= 2
    declined = bench.ask(snapshot)
    assert declined.code is DeclineCode.UNSTABLE
    assert "does not follow load" in declined.reason
    assert "missed the objective" in declined.reason
