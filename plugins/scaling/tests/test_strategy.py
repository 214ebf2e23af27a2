from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Basis, DeclineCode, Declined, WorkloadId


def code(answer):
    assert isinstance(answer, Declined)
    return answer.code


def test_replicas_that_are_only_assumed_are_not_planned(bench):
    answer = bench.ask(replicas=1, basis=Basis.ASSUMED_FROM_LIMIT)
    assert code(answer) is DeclineCode.UNKNOWN_STATE
    assert "services file" in answer.reason


def test_unknown_replicas_or_requests_are_not_planned(bench):
    snapshot = bench.snapshot()
    state = msgspec.structs.replace(snapshot.workload.state, replicas=None)
    unknown = replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, state=state))
    assert code(bench.ask(unknown)) is DeclineCode.UNKNOWN_STATE
    assert code(bench.ask(request=None)) is DeclineCode.UNKNOWN_STATE


@pytest.mark.parametrize("kind", ["DaemonSet", "CronJob", "Job"])
def test_kinds_without_replicas_are_not_planned(bench, kind):
    snapshot = bench.snapshot()
    other = msgspec.structs.replace(snapshot.workload, id=WorkloadId(name="a", namespace="b", kind=kind))
    answer = bench.ask(replace(snapshot, workload=other))
    assert code(answer) is DeclineCode.NOT_APPLICABLE
    assert kind in answer.reason


def test_less_than_three_sevenths_or_two_days_is_too_short(bench):
    assert code(bench.ask(bench.snapshot(bench.wave(days=2.9)))) is DeclineCode.SHORT_HISTORY
    short = bench.snapshot(bench.wave(days=1.9))
    assert code(bench.ask(short, validity=timedelta(days=1))) is DeclineCode.SHORT_HISTORY


def test_gaps_and_silence_are_told_apart(bench):
    total = bench.wave()
    total[np.arange(total.size) % 2 == 1] = np.nan
    assert code(bench.ask(bench.snapshot(total))) is DeclineCode.LOW_COVERAGE
    assert code(bench.ask(bench.snapshot(np.full(4032, np.nan)))) is DeclineCode.NO_DATA
