"""Whatever holds a change back says what can be done about it."""

import inspect
import re
from datetime import UTC, datetime

import pytest

from perfopt_api.apply import gates, runner
from perfopt_api.policy import decide, history
from perfopt_api.policy.decide import denied, freeze_decision
from perfopt_api.policy.remedies import remedy_of
from perfopt_api.policy.settings import PolicySettings

SOURCES = "".join(inspect.getsource(module) for module in (decide, history, gates, runner))
RULES = sorted(set(re.findall(r'"((?:policy|gates|verification|rules)\.\w+)"', SOURCES)))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_remedy_that_names_a_setting_that_there_is(rule):
    remedy = remedy_of(rule)
    assert remedy.endswith(".")
    for name in re.findall(r"`policy\.(\w+)`", remedy):
        assert hasattr(PolicySettings(), name), name


def test_freezes_gates_and_denials_say_their_rule_reason_and_remedy():
    frozen = freeze_decision("prod/deployment/api", "month end", (), datetime(2026, 11, 30, tzinfo=UTC))
    assert frozen.sentence.startswith("freeze.cluster: ")
    assert "perfopt.io/freeze" in frozen.remedy
    assert "`perfopt unfreeze trading`" in remedy_of("freeze[trading]")
    assert "gate" in remedy_of("hooks.gates.board")
    assert denied("policy.windows", "Too early.").sentence == (
        "policy.windows: Too early. Change the setting `policy.windows`, or wait for the window."
    )


def test_a_rule_of_a_pack_has_its_own_reason_only():
    assert remedy_of("house/no_fridays") == ""
    assert denied("house/no_fridays", "Not on Fridays.").sentence == "house/no_fridays: Not on Fridays."
