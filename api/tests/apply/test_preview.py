"""The preview shows every change once, in the quantities' own meaning."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.rules import FiredRule, TimeWindow
from perfopt_api.apply.export import export
from perfopt_api.apply.preview import changes_of, first_step_of, warnings_of
from perfopt_api.apply.request import ApplyRecommendationRequest, ExecutorMissingError, refuse_change
from perfopt_api.apply.target import UnsupportedKindError, target_of
from perfopt_api.policy.settings import PolicySettings

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=80)


def test_containers_replicas_and_other_keys_are_shown(make, states):
    current, wanted = states
    made = make(current_state=current, recommended_state=wanted | {"schedule": "off"})
    assert changes_of(made)["changes"] == [
        {"path": "containers.app.cpu_request", "from": "500m", "to": "300m"},
        {"path": "containers.app.memory_request", "from": "1Gi", "to": "800Mi"},
        {"path": "containers.app.cpu_limit", "from": "1", "to": None},
        {"path": "containers.app.memory_limit", "from": "2Gi", "to": "1Gi"},
        {"path": "containers.proxy.cpu_request", "from": "100m", "to": "50m"},
        {"path": "replicas", "from": 3, "to": 4},
        {"path": "schedule", "from": None, "to": "off"},
    ]


def test_the_first_step_is_shown_where_policy_takes_several(make):
    current = {"containers": {"app": {"cpu_request": "1", "memory_request": "1Gi"}}, "replicas": 20}
    wanted = {"containers": {"app": {"cpu_request": "1000m", "memory_request": "800Mi"}}, "replicas": 3}
    made = make(current_state=current, recommended_state=wanted)
    found = first_step_of(made, PolicySettings())
    assert (found["kind"], found["workload"], found["steps"]) == ("first_step", made.workload, 3)
    assert found["changes"] == [
        {"path": "containers.app.memory_request", "from": "1Gi", "to": "800Mi"},
        {"path": "replicas", "from": 20, "to": 10},
    ]
    assert first_step_of(made, PolicySettings(largest_step_down=0.9)) is None


def test_the_first_step_of_an_autoscaler_is_that_of_its_minimum(make):
    def state(least, replicas):
        container = {"app": {"cpu_request": "1", "memory_request": "1Gi"}}
        return {"containers": container, "replicas": replicas, "hpa": {"min_replicas": least}}

    found = first_step_of(make(current_state=state(12, 12), recommended_state=state(4, 4)), PolicySettings())
    assert found["changes"] == [{"path": "hpa.min_replicas", "from": 12, "to": 6}]


def test_another_spelling_is_no_change(make):
    state = {"containers": {"app": {"cpu_request": "0.5", "memory_request": "1024Mi"}}}
    wanted = {"containers": {"app": {"cpu_request": "500m", "memory_request": "1Gi"}}}
    assert changes_of(make(current_state=state, recommended_state=wanted))["changes"] == []


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"hpa": {"max_replicas": 5}}, "hpa_owned"),
        ({"keda": "orders"}, "keda_owned"),
        ({"vpa_mode": "Auto"}, "vpa_owned"),
        ({"basis": "assumed_from_limit"}, "assumed_from_limit"),
    ],
)
def test_what_stands_against_it_is_said(make, states, state, code):
    made = make(current_state=states[0] | state)
    assert [warning.code for warning in warnings_of(made, made.made_at)] == [code]


def test_a_vpa_that_only_recommends_is_no_warning(make, states):
    made = make(current_state=states[0] | {"vpa_mode": "Off"})
    assert warnings_of(made, made.made_at) == ()


def test_it_is_expired_from_valid_until_on(make):
    recommendation = make()
    assert warnings_of(recommendation, recommendation.valid_until - timedelta(seconds=1)) == ()
    assert [warning.code for warning in warnings_of(recommendation, recommendation.valid_until)] == [
        "expired"
    ]


@given(parts=st.lists(NAMES, min_size=1, max_size=4))
def test_any_workload_name_gives_a_name_that_kubernetes_takes(make, parts):
    made = make(workload="/".join(parts))
    try:
        target = target_of(made)
    except UnsupportedKindError:
        assert re.fullmatch("[A-Za-z][A-Za-z0-9]*", parts[-2])
        return
    assert target.name
    assert set(target.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(export(made)) == 3


def test_what_rules_ask_for_stands_beside_the_preview(make):
    made_at = make().made_at
    closed = TimeWindow(start=made_at + timedelta(hours=2), end=made_at + timedelta(hours=3))
    asks = FiredRule(pack="p", version="1.0.0", rule="r", action="require_approval", reason="It is dear.")
    made = make(requires_approval=True, rules=(asks,), allowed_windows=(closed,))
    approval, window = warnings_of(made, made_at)
    assert (approval.code, window.code) == ("approval_required", "outside_window")
    assert "It is dear." in approval.message
    assert [w.code for w in warnings_of(made, closed.start)] == ["approval_required"]


@pytest.mark.parametrize("force", [False, True])
def test_a_change_of_the_cluster_is_refused_with_what_rules_ask_for(make, force):
    with pytest.raises(ExecutorMissingError, match="needs approval"):
        refuse_change(ApplyRecommendationRequest(force=force), make(requires_approval=True), make().made_at)
