"""Knobs of a recommendation become a patch of environment and arguments, or instructions."""

import yaml

from perfopt_api.apply.export import export

ENV = [{"name": "A", "value": "1"}, {"name": "GOMAXPROCS", "value": "16"}]
CONTAINERS = [{"name": "app", "image": "app:1", "env": ENV}, {"name": "proxy", "image": "proxy:1"}]
LIVE = {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}


def tuned(make, states, settings, **containers):
    current, _ = states
    knobs = {"knobs": {"app": {"gomaxprocs": 2}}, "knob_settings": {"app": settings}}
    return make(current_state=current, recommended_state=current | knobs | containers)


def test_variables_merge_by_name_and_leave_the_others(make, states, strategic_merge):
    (artifact,) = export(tuned(make, states, {"env": {"GOMAXPROCS": "2", "B": "x y"}}))
    assert artifact["kind"] == "knobs_patch"
    merged = strategic_merge(LIVE, yaml.safe_load(artifact["content"]))
    app, proxy = merged["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in app["env"]} == {"A": "1", "GOMAXPROCS": "2", "B": "x y"}
    assert app["image"] == "app:1"
    assert "env" not in proxy
    assert "resources" not in app


def test_arguments_are_replaced_as_a_whole(make, states, strategic_merge):
    (artifact,) = export(tuned(make, states, {"args": ["-w", "3", "app:app"]}))
    merged = strategic_merge(LIVE, yaml.safe_load(artifact["content"]))
    assert merged["spec"]["template"]["spec"]["containers"][0]["args"] == ["-w", "3", "app:app"]


def test_what_no_manifest_can_set_is_written_down(make, states):
    (artifact,) = export(tuned(make, states, {"by_hand": ["Pass max_size=40 to asyncpg.create_pool."]}))
    assert artifact["kind"] == "knobs_by_hand"
    assert artifact["content"] == "- Pass max_size=40 to asyncpg.create_pool.\n"


def test_a_limit_that_is_searched_is_patched_beside_the_knobs(make, states):
    _, wanted = states
    kinds = [
        a["kind"] for a in export(tuned(make, states, {"env": {"X": "1"}}, containers=wanted["containers"]))
    ]
    assert kinds == ["knobs_patch", "strategic_merge_patch", "kustomize", "helm_values"]
