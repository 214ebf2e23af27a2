"""Closed loops on series small enough to work out by hand, and the command that runs them."""

import json
import re
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from perfopt.backtest import ScheduleRequest
from perfopt.backtest.loop.policies import LoopPolicy, loop_policies
from perfopt.backtest.loop.report import DayColumns
from perfopt.backtest.loop.run import loops_of
from perfopt.backtest.policies import baseline_policy
from perfopt.cli.main import cli
from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.loop import CONTROLLED, PLAIN, LoopSettings
from perfopt.testing import make_snapshot

SIZES = OptimizationType.RESOURCE_OPTIMIZATION
DAY, GIB = 288, 2**30
WATCHFUL = LoopSettings(agreeing=1, max_fall=1.0, cpu_drift=1.0, memory_drift=np.inf, drift_headroom=0.5)


def snapshot_of(cpu, memory=None, limit=4.0):
    container = Container(
        name="main",
        cpu_request_cores=limit,
        memory_request_bytes=8 * GIB,
        cpu_limit_cores=limit,
        memory_limit_bytes=8 * GIB,
    )
    memory = np.full(cpu.size, 1.0 * GIB) if memory is None else memory
    metrics = {"cpu_cores": cpu, "memory_bytes": memory}
    return make_snapshot({"main": metrics}, state=WorkloadState(containers=(container,)))


def days_of(snapshot, settings=PLAIN, origins="3", name="max"):
    request = ScheduleRequest(
        history=timedelta(days=7), validity=timedelta(days=1), origins=origins, every=timedelta(days=1)
    )
    policy = LoopPolicy(baseline_policy(SIZES, name), settings, baseline=True)
    return loops_of(snapshot, request.shared(snapshot.grid.end), [policy], DEFAULT_PRICE_BOOK)


def test_a_steady_load_is_sized_once_and_safe():
    days = days_of(snapshot_of(np.full(10 * DAY, 0.5)))
    assert [day.changes for day in days] == [1, 0, 0]
    assert not any(day.unsafe for day in days)
    assert days[1].paid_memory == days[1].minimum_memory == GIB
    assert days[1].paid_cost == pytest.approx(days[1].minimum_cost)


def test_a_change_is_paid_for_while_it_is_carried_out():
    first = days_of(snapshot_of(np.full(10 * DAY, 0.5)))[0]
    assert first.paid_memory == pytest.approx(GIB + 7 * GIB / DAY)


def test_a_jump_makes_its_day_unsafe_and_the_next_is_sized_for_it():
    cpu = np.full(10 * DAY, 0.5)
    cpu[8 * DAY + 100 :] = 1.0
    days = days_of(snapshot_of(cpu))
    assert [day.cpu_safe for day in days] == [True, False, True]
    assert [day.changes for day in days] == [1, 0, 1]


def test_a_raise_for_drift_holds_from_the_second_step_on():
    cpu = np.full(10 * DAY, 0.5)
    cpu[8 * DAY + 100 :] = 1.0
    days = days_of(snapshot_of(cpu), WATCHFUL)
    assert [day.cpu_safe for day in days] == [True, True, True]  # two of 288 samples may be short
    assert [day.raises for day in days] == [0, 1, 0]
    assert days[1].changes == 1


def test_memory_that_grows_is_raised_before_it_is_short_and_a_jump_is_not():
    grown, jumped = np.full(10 * DAY, 1.0 * GIB), np.full(10 * DAY, 1.0 * GIB)
    grown[8 * DAY :] = np.minimum(GIB * (1 + np.arange(2 * DAY) / 1000), 1.5 * GIB)
    jumped[8 * DAY + 50 :] = 3.0 * GIB
    wide = msgspec.structs.replace(WATCHFUL, memory_drift=0.9)
    cpu = np.full(10 * DAY, 0.5)
    assert [day.memory_safe for day in days_of(snapshot_of(cpu, grown), wide, name="max+20%")] == [True] * 3
    assert [day.memory_safe for day in days_of(snapshot_of(cpu, jumped), wide, name="max+20%")][1] is False


def test_a_raise_is_held_until_the_recommendations_agree_that_it_is_not_needed():
    cpu = np.full(14 * DAY, 0.5)
    cpu[10 * DAY + 100 : 10 * DAY + 110] = 1.0
    held = days_of(snapshot_of(cpu), msgspec.structs.replace(WATCHFUL, agreeing=2), "6", name="p99")
    assert sum(day.raises for day in held) == 1
    paid = [day.paid_cost for day in held]
    assert paid[3] > paid[1]
    assert paid[-1] == pytest.approx(paid[1], rel=0.02)


def test_nothing_after_a_day_changes_what_that_day_was_given():
    cpu = np.full(10 * DAY, 0.5)
    later = cpu.copy()
    later[9 * DAY :] = 3.0
    one, other = days_of(snapshot_of(cpu), WATCHFUL), days_of(snapshot_of(later), WATCHFUL)
    assert one[:2] == other[:2]
    assert one[2] != other[2]


def test_days_with_too_few_samples_are_not_scored():
    cpu = np.full(10 * DAY, 0.5)
    cpu[8 * DAY : 9 * DAY - 100] = np.nan
    memory = np.where(np.isnan(cpu), np.nan, 1.0 * GIB)
    assert len(days_of(snapshot_of(cpu, memory))) == 2


def test_figures_weigh_money_over_all_and_each_service_alike():
    snapshot = snapshot_of(np.full(10 * DAY, 0.5))
    (day,) = days_of(snapshot, origins="1")
    big = msgspec.structs.replace(
        day, service="big", current_cost=100.0, paid_cost=100.0, minimum_cost=0.0, cpu_safe=False
    )
    small = msgspec.structs.replace(day, service="small", current_cost=1.0, paid_cost=0.0, minimum_cost=0.0)
    found = DayColumns.of([big, small], 1.0).figures()
    assert found["saving"].value == pytest.approx(1 / 101)
    assert found["saving_by_service"].value == pytest.approx(0.5)
    assert found["unsafe"].value == 0.5
    assert found["unsafe"].low == 0.0
    assert found["changes"].value == pytest.approx(7.0)


def test_names_choose_the_rule_of_each_loop():
    policies = [baseline_policy(SIZES, "max"), baseline_policy(SIZES, "vpa")]
    names = [one.name for one in loop_policies(("max", "max+loop", "vpa+loop"), policies, "perfopt")]
    assert names == ["max+loop", "max", "vpa+loop"]
    assert [one.settings for one in loop_policies((), policies, "perfopt")] == [PLAIN, PLAIN]
    assert loop_policies(("max+loop",), policies[:1], "perfopt")[0].settings == CONTROLLED


@pytest.fixture
def run(pytestconfig):
    traces = pytestconfig.rootpath / "core/tests/data/bitbrains_three_vms.parquet"

    def invoke(*arguments):
        given = ("backtest", "--source", str(traces), "--all", *map(str, arguments))
        return CliRunner().invoke(cli, given, prog_name="perfopt")

    return invoke


def test_the_command_prints_and_writes_the_loops(run, tmp_path):
    page, rows = tmp_path / "page.html", tmp_path / "rows.csv"
    names = ("--policy", "max+loop", "--policy", "vpa")
    done = run("--closed-loop", "--history", "7d", "--origins", "3", *names, "--html", page, "--rows", rows)
    assert done.exit_code == 0, done.stderr
    assert "3 services, analysed every 1d" in done.stdout
    assert re.search(r"^max\+loop +9 +0 +[\d.]+% \(", done.stdout, re.MULTILINE)
    assert "Unsafe days" in page.read_text() or "unsafe days" in page.read_text()
    assert len(rows.read_text().splitlines()) == 1 + 2 * 9


def test_loops_do_not_depend_on_the_number_of_processes(run):
    given = ("--closed-loop", "--history", "7d", "--origins", "2", "--policy", "max", "--format", "json")
    one, two = (run(*given, "--processes", count) for count in (1, 2))
    assert one.stdout == two.stdout
    assert json.loads(one.stdout)["policies"][0]["days"] == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--closed-loop", "--validity", "7d"), "give --horizon"),
        (("--every", "2d"), "--every has no effect without --closed-loop"),
        (("--closed-loop", "--types", "scaling", "--policy", "live"), "A closed loop is run with sizes"),
        (("--closed-loop", "--policy", "nonsense+loop"), "nonsense"),
    ],
)
def test_what_a_loop_does_not_read_is_refused(run, arguments, said):
    done = run(*arguments)
    assert done.exit_code != 0
    assert said in done.stderr
