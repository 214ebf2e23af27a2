"""Rules of a configuration, of plugins and of the shipped packs, through worker processes to the result."""

from datetime import timedelta

import msgspec
import pytest
from first_party import FIRST_PARTY

from perfopt.config.loading import Config, EngineConfig, RulesConfig
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.errors import InvalidInputError
from perfopt.testing import daily_usage, make_snapshot

WEEK = timedelta(days=7)
RESOURCE = (OptimizationType.RESOURCE_OPTIMIZATION,)
GOOD = "perfopt.testing.examples:PEAK"
PACK = """apiVersion: perfopt.io/v1
kind: RulePack
name: house
version: 2.1.0
description: The rules of this house.
rules:
  - name: whole_steps
    for: containers
    reason: Manifests are written in steps of 250m.
    actions: [{round: {fields: [cpu_request], to: 250m}}]
"""
BUSY = {"main": {"cpu_cores": daily_usage(low=1, high=3), "memory_bytes": daily_usage() * 2**32}}
BRINGS = """from pathlib import Path
from perfopt.plugin import hookimpl

@hookimpl
def perfopt_rule_packs():
    return [Path(__file__).with_name("house.yaml")]
"""


@pytest.fixture
def analyze(install):
    install("good", {"good": GOOD})
    engines = []

    def run(snapshot=None, **rules):
        config = Config(
            engine=EngineConfig(processes=1, deadline_seconds=30.0), rules=msgspec.convert(rules, RulesConfig)
        )
        engines.append(Engine(probe_plugins(FIRST_PARTY), config))
        return engines[-1].analyze(snapshot or make_snapshot(), RESOURCE, WEEK)

    yield run
    for engine in engines:
        engine.close()


def test_a_pack_of_the_installation_is_on_the_recommendation_and_in_its_replays(analyze, tmp_path):
    (tmp_path / "house.yaml").write_text(PACK)
    (recommendation,) = analyze(packs=str(tmp_path / "house.yaml")).recommendations
    assert recommendation.rules_fired == ("whole_steps",)
    (fired,) = recommendation.rules
    assert (fired.pack, fired.version) == ("house", "2.1.0")
    assert (fired.container, fired.field) == ("main", "cpu_request")
    assert fired.after == recommendation.recommended_state["cpu_request"] == "1"
    replayed = {window.recommended["main"]["cpu_request"] for window in recommendation.evidence.windows}
    assert replayed <= {"750m", "1"}


def test_a_plugin_may_bring_packs_alone(analyze, install):
    install("house-rules", {"house": "house"}, files={"house.py": BRINGS, "house.yaml": PACK})
    (made,) = analyze().recommendations
    assert made.rules_fired == ("whole_steps",)
    (info,) = [plugin for plugin in probe_plugins(FIRST_PARTY).plugins if plugin.name == "house"]
    assert (info.status, info.rule_packs, info.types) == ("loaded", ("house",), ())


def test_a_plugin_with_a_wrong_pack_fails_with_the_line(install):
    files = {"house.py": BRINGS, "house.yaml": PACK.replace("250m}", "250Mi}")}
    install("house-rules", {"house": "house"}, files=files)
    (info,) = [plugin for plugin in probe_plugins(FIRST_PARTY).plugins if plugin.name == "house"]
    assert info.status == "failed"
    assert "house.yaml:10" in info.error


def test_a_freeze_and_a_budget_hold_it_back_without_changing_it(analyze):
    free = analyze().recommendations[0]
    dear = {"budget": {"monthly": 0.01}, "market-hours": {"exchange": "XETR"}}
    snapshot = make_snapshot(BUSY)
    (made,) = analyze(snapshot, enable="market-hours,budget", parameters=dear).recommendations
    assert made.requires_approval
    assert made.not_before is None  # it is made on a Monday at midnight
    assert made.allowed_windows[0].end.hour == 7  # half an hour before the open in Frankfurt, in winter
    assert not free.requires_approval
    assert free.allowed_windows == ()


def test_a_veto_declines_with_its_reason(analyze):
    refused = analyze(enable="budget", parameters={"budget": {"monthly": 0.01, "over": "refuse"}})
    assert refused.recommendations  # it costs less than now, so it is no growth over the budget
    snapshot = make_snapshot(BUSY)
    result = analyze(snapshot, enable="budget", parameters={"budget": {"monthly": 0.01, "over": "refuse"}})
    (declined,) = result.declined
    assert (result.recommendations, declined.code) == ((), DeclineCode.VETOED)
    assert "budget/budget_refused" in declined.reason


def test_metrics_that_conditions_read_are_fetched(install, tmp_path):
    text = PACK.replace("for: containers\n", "for: containers\n    when: history.oom_kills > 0.0\n")
    (tmp_path / "house.yaml").write_text(text)
    config = Config(rules=RulesConfig(packs=str(tmp_path / "house.yaml")))
    with Engine(probe_plugins(FIRST_PARTY), config) as engine:
        assert "oom_kills" in engine.metrics(RESOURCE)


def test_a_wrong_configuration_of_rules_is_said_before_anything_runs():
    with pytest.raises(InvalidInputError, match="can't be switched off"):
        Engine(probe_plugins(FIRST_PARTY), Config(rules=RulesConfig(disable="memory-peak")))
