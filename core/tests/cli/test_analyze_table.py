"""The table of `perfopt analyze` on a terminal."""

import msgspec

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import ExpectedValue


def test_table_shows_changed_fields_costs_and_evidence(run, traces, fleet):
    done = run("analyze", "--source", traces, "--all")
    assert done.exit_code == 0
    assert done.stdout == (
        "   Service  Container  Type      Field        Change    EUR/month               Conf.  Backtest\n"
        "────────────────────────────────────────────────────────────────────────────────────────────────\n"
        "▼  web      main       resource  cpu request  2 → 300m  100.00 → 37.60 (-62 %)   0.87  2/3 (2.0)\n"
        "Total: 1 service, 100.00 → 37.60 EUR (-62 %) a month\n"
        "▲ raise  ▼ lower  ● setting  * current requests assumed from limits;"
        " backtest: windows accurate/scored (n_eff)\n"
        "\n"
        "no change  resource  db\n"
        "abstained  cost      3 services  no_strategy: No installed plugin makes COST_OPTIMIZATION.\n"
        "warning              api         short_history: 2d of history.\n"
    )


def test_narrow_terminals_get_a_line_a_service_and_nothing_is_cut(run, traces, fleet):
    lines = run("analyze", "--source", traces, "--all", env={"COLUMNS": "60"}).stdout.splitlines()
    assert lines[0].startswith("web ")
    assert lines[0].endswith("100.00 → 37.60 EUR (-62 %) a month")
    assert lines[1].split() == [
        "▼",
        "resource",
        "main",
        "cpu",
        "request",
        "2",
        "→",
        "300m",
        "0.87",
        "2/3",
        "(2.0)",
    ]
    assert max(map(len, lines)) <= 60


def test_knobs_have_the_unit_in_which_their_runtime_takes_them(run, traces, answers, recommendation, result):
    made = recommendation("web")
    knobs = {
        "knobs": {"main": {"gomemlimit": 101, "gomaxprocs": 2}},
        "knob_settings": {"main": {"env": {"GOMEMLIMIT": "101MiB"}, "values": {"gomemlimit": "101MiB"}}},
    }
    answers(result("web", [msgspec.structs.replace(made, recommended_state=made.recommended_state | knobs)]))
    shown = run("analyze", "--source", traces, "--all").stdout
    assert "- → 101MiB" in shown
    assert "- → 2\n" in shown


def test_the_cost_stands_beside_the_type_that_changes_it(run, traces, answers, recommendation, result):
    cheaper = recommendation("web")
    state = cheaper.current_state | {"knobs": {"main": {"gomaxprocs": 2}}}
    tuned = msgspec.structs.replace(
        cheaper,
        optimization_type=OptimizationType.PERFORMANCE_TUNING,
        plugin="tuning/knobs",
        recommended_state=state,
        monthly_cost_recommended=cheaper.monthly_cost_current,
        expected_value=ExpectedValue(saving=9.0, risk=0.0, total=9.0),
    )
    answers(result("web", [tuned, cheaper]))
    first = run("analyze", "--source", traces, "--all").stdout.splitlines()[2]
    assert "resource" in first
    assert "(-62 %)" in first


def test_the_wide_table_has_validity_and_id(run, traces, fleet):
    lines = run("analyze", "--source", traces, "--all", "--format", "wide").stdout.splitlines()
    assert lines[0].split()[-3:] == ["Valid", "until", "Id"]
    assert lines[2].split()[-3:] == ["2026-11-15", "00:00Z", "opt_20261108_001"]


def test_a_backtest_far_below_the_confidence_is_marked(run, traces, answers, recommendation, result):
    def shown(confidence):
        made = recommendation("web")
        stated = msgspec.structs.replace(made.expected_improvement, confidence=confidence)
        answers(result("web", [msgspec.structs.replace(made, expected_improvement=stated)]))
        return run("analyze", "--source", traces, "--all").stdout

    sure = shown(0.92)
    assert "2/3 (2.0) !\n" in sure
    assert "\n! the service's own backtest is far below the confidence" in sure
    assert "!" not in shown(0.91)


def test_saving_against_assumed_requests_is_marked_and_not_in_the_total(
    run, traces, answers, recommendation, result
):
    assumed = recommendation("web")
    state = {**assumed.current_state, "basis": "assumed_from_limit"}
    answers(
        result("web", [msgspec.structs.replace(assumed, current_state=state)]),
        result("db", [recommendation("db")]),
    )
    shown = run("analyze", "--source", traces, "--all").stdout
    assert "100.00 → 37.60 (-62 %)*" in shown
    assert "Total: 1 service, 100.00 → 37.60 EUR (-62 %) a month\n" in shown
    assert "Not in the total (*): 1 service, 100.00 → 37.60 EUR (-62 %) a month\n" in shown


def test_services_worth_most_come_first(run, traces, answers, recommendation, result):
    def worth(name, total):
        value = ExpectedValue(saving=total, risk=0.0, total=total)
        return result(name, [msgspec.structs.replace(recommendation(name), expected_value=value)])

    answers(worth("small", 1.0), result("unknown", [recommendation("unknown")]), worth("large", 9.0))
    lines = run("analyze", "--source", traces, "--all").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("▼")] == ["large", "small", "unknown"]
