import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from click.testing import CliRunner

from perfopt.backtest.simulation.demand import demand_of
from perfopt.backtest.simulation.report import summarise_simulation
from perfopt.backtest.simulation.run import AutoscalerRun, ServiceSimulation
from perfopt.cli.main import cli
from perfopt.errors import NoDataError
from perfopt.testing import make_snapshot

START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Four days of two services with a daily wave, in 5-minute means, as CSV."""
    path = tmp_path_factory.mktemp("shop") / "shop.csv"
    rng = np.random.default_rng(1)
    lines = ["series_id,timestamp,metric,value"]
    for name in ("web/front", "jobs/mail"):
        for step in range(4 * 288):
            value = (2 - np.cos(2 * np.pi * step / 288)) * rng.lognormal(0, 0.1)
            at = (START + 5 * step * MINUTE).isoformat().replace("+00:00", "Z")
            lines.append(f"{name},{at},requests_per_second,{value:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    given = () if "loop" in arguments else ("--simulate", "minutes")
    return CliRunner().invoke(cli, ["backtest", *given, *map(str, arguments)])


def test_the_table_compares_policies_all_and_by_family(shop):
    done = run("--source", shop, "--all", "--policy", "hpa-50", "--policy", "perfopt", "--processes", "1")
    assert done.exit_code == 0, done.stderr
    assert "2 services" in done.stdout
    header = next(line for line in done.stdout.splitlines() if line.startswith("POLICY"))
    assert "JOBS" in header
    assert "WEB" in header
    for policy in ("hpa-50", "perfopt-critical", "perfopt-standard", "perfopt-batch"):
        assert f"\n{policy} " in done.stdout
    assert "at each baseline's cost" in done.stdout
    assert "hpa-70" not in done.stdout


def test_json_and_page_hold_the_same_figures_whatever_the_processes(shop, tmp_path):
    page = tmp_path / "page.html"
    options = ("--source", shop, "--all", "--policy", "hpa-50", "--policy", "perfopt-standard")
    one = run(*options, "--format", "json", "--processes", "1", "--simulate", "loop", "--html", page)
    two = run(*options, "--format", "json", "--processes", "2", "--simulate", "loop")
    assert one.exit_code == 0, one.stderr
    assert one.stdout == two.stdout
    sizing_model = json.loads(one.stdout)
    ours = next(p for p in sizing_model["policies"] if p["policy"] == "perfopt-standard")["groups"]
    assert set(ours) == {"all", "web", "jobs"}
    assert f"{ours['all']['violated']:.2%} / {ours['all']['cost']:.2f}" in page.read_text()
    assert "http" not in page.read_text().replace("http://www.w3.org", "")
    assert [one["policy"] for one in sizing_model["loop"]] == ["hpa-50", "hpa-70", "perfopt-standard"]
    costs = {p["policy"]: p["groups"]["all"] for p in sizing_model["loop"]}
    assert costs["perfopt-standard"]["violated"] <= costs["hpa-70"]["violated"]


def test_cpu_in_total_is_scaled_for_where_no_requests_are_measured(pytestconfig):
    traces = pytestconfig.rootpath / "core/tests/data/bitbrains_three_vms.parquet"
    done = run(
        "--source", traces, "--service", "bitbrains-rnd/vm333", "--policy", "hpa-60", "--format", "json"
    )
    assert done.exit_code == 0, done.stderr
    (service,) = json.loads(done.stdout)["runs"]
    assert service["metric"] == "cpu_cores"
    assert service["minutes"] > 10 * 1440


def test_options_that_a_simulation_does_not_read_are_refused(shop):
    done = run("--source", shop, "--all", "--origins", "3")
    assert done.exit_code == 2
    assert "--origins has no effect with --simulate" in done.stderr


def test_an_unknown_policy_is_answered_with_the_known_ones(shop):
    done = run("--source", shop, "--all", "--policy", "hpa-5")
    assert done.exit_code != 0
    assert "hpa-50" in done.stderr
    assert "Known: perfopt, hpa-40" in run("--source", shop, "--all", "--policy", "mine").stderr


def test_too_short_a_history_is_said(shop):
    done = run("--source", shop, "--all", "--from", "2026-03-02T00:00:00Z", "--until", "2026-03-03T00:00:00Z")
    assert done.exit_code != 0
    assert "two days pass" in done.stderr


def minutes(values, **other):
    return make_snapshot({"main": {}}, service={"requests_per_second": values, **other}, step=MINUTE)


def test_bars_are_held_and_what_is_not_there_is_no_demand():
    values = np.full(4 * 1440, np.nan)
    values[60 : 4 * 1440 - 100 : 15] = 3.0
    values[1000:2000] = np.nan
    found = demand_of(minutes(values)).world
    assert found.step_minutes == 15
    assert found.demand[:45].tolist() == [3.0] * 45
    assert found.demand[1100] == 0.0
    assert found.first_minute % 60 == 0


def test_requests_come_before_events_and_cpu():
    values = np.ones(4 * 1440)
    assert demand_of(minutes(values, events_per_second=values)).metric == "requests_per_second"
    cpu = make_snapshot({"a": {"cpu_cores": values}, "b": {"cpu_cores": 2 * values}}, step=MINUTE)
    demand = demand_of(cpu)
    assert demand.metric == "cpu_cores"
    assert demand.world.demand[5] == 3.0


@pytest.mark.parametrize("values", [np.full(6000, np.nan), np.zeros(6000), np.ones(100)])
def test_no_demand_is_an_error_that_says_so(values):
    with pytest.raises(NoDataError):
        demand_of(minutes(values))


def outcome(policy, violated, cost):
    return AutoscalerRun(policy=policy, violated=violated, cost=cost, whole_cost=cost, starts_per_hour=0.0)


def service(name, violated, cost, prices):
    return ServiceSimulation(
        service=name,
        metric="requests_per_second",
        minutes=100,
        runs=(outcome("hpa-50", violated, cost),),
        prices=tuple(outcome(str(k), *one) for k, one in enumerate(prices)),
        loop=(),
    )


def test_means_weigh_services_alike_and_costs_are_met_on_a_line():
    result = summarise_simulation(
        "s",
        [
            service("a/x", 0.10, 2.0, [(0.08, 1.0), (0.02, 3.0)]),
            service("b/y", 0.02, 1.0, [(0.04, 1.0), (0.02, 3.0)]),
        ],
        (),
    )
    whole = result.policies[0].groups["all"]
    assert (whole.violated, whole.cost, whole.services) == (0.06, 1.5, 2)
    same = {one.group: one.violated for one in result.same_cost}
    assert same["all"] == pytest.approx(0.06 - 0.25 * 0.04)
    assert same["a"] == pytest.approx(0.05)
    assert same["b"] == pytest.approx(0.04)


def test_a_cost_below_our_cheapest_is_not_met():
    (_, family) = summarise_simulation("s", [service("a/x", 0.1, 0.5, [(0.0, 1.0)])], ()).same_cost
    assert family.violated is None
