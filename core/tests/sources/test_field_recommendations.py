"""What `perfopt analyze` prints of real clusters' situations, from a real server: each kind's right value."""

import json

import pytest
from field_analysis import PLAIN, RESOURCE, SCALING, results
from field_cases import LONG
from field_world import MI

from perfopt.domain.quantity import parse_cpu, parse_memory

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300), pytest.mark.xdist_group("field")]


def states(answer):
    """Returns the recommended state of each service that has one recommendation."""
    found = results(answer)
    return {name: one["recommendations"][0]["recommended_state"] for name, one in found.items()}


def sizes(state):
    return state["cpu_request"], state["memory_request"]


def test_kind_a_nothing_is_sized_by_the_scrape_target_s_own_use(field_url, analyze):
    refused = analyze(field_url, "exported")
    assert refused.exit_code == 1
    assert "exported_namespace" in refused.stderr
    assert "honorLabels: true" in refused.stderr
    beside = results(analyze(field_url, "exported-beside"))
    assert set(beside) == {"api"}
    assert "foreign_series" in {warning["code"] for warning in beside["api"]["warnings"]}


def test_kind_b_copies_are_no_second_load_and_clusters_are_not_merged(field_url, analyze):
    assert {sizes(state) for state in states(analyze(field_url, "two-servers")).values()} == {PLAIN}
    refused = analyze(field_url, "two-clusters")
    assert refused.exit_code == 1
    assert "k8s_cluster = 'dev', 'prod'" in refused.stderr
    assert "cluster_label: k8s_cluster" in refused.stderr


@pytest.mark.parametrize("world", ["slower-copy", "restarts-overlap"])
def test_kind_b_a_slower_copy_and_ids_of_a_restart_are_no_second_load(field_url, analyze, world):
    assert {sizes(state) for state in states(analyze(field_url, world)).values()} == {PLAIN}


def test_kind_a_requests_that_another_exporter_shows_are_not_the_workload_s(field_url, analyze):
    (result,) = results(analyze(field_url, "opencost")).values()
    (recommendation,) = result["recommendations"]
    assert sizes(recommendation["current_state"]) == ("1", "1Gi")
    assert "memory_limit" not in recommendation["current_state"]
    assert sizes(recommendation["recommended_state"]) == PLAIN
    (warning,) = [w for w in result["warnings"] if w["code"] == "foreign_series"]
    assert "job = 'opencost'" in json.dumps(warning)


@pytest.mark.parametrize("world", ["cpu-jumps", "memory"])
def test_kind_c_samples_that_cannot_be_set_no_size(field_url, analyze, world):
    found = results(analyze(field_url, world))
    assert len(found) in (4, 6)
    for name, one in found.items():
        (recommendation,) = one["recommendations"]
        app = recommendation["recommended_state"]["containers"]["app"]
        # A few samples fewer, or a larger one, is all that may differ from the plain world.
        assert app["cpu_request"] in (PLAIN[0], "235m"), name
        assert app["memory_request"] in (PLAIN[1], "387Mi", "1Gi"), name
    if world == "memory":
        assert "implausible" in json.dumps(found["petabyte"])


def test_kind_d_oom_kills_of_every_source_raise_memory(field_url, analyze):
    found = states(analyze(field_url, "oom", "--validity", "4d"))
    memory = {name: state["memory_request"] for name, state in found.items()}
    raised = dict.fromkeys(("by-oom", "child", "at-birth", "batch"), "1229Mi")
    assert memory == raised | {"by-error": memory["by-error"]}
    assert memory["by-error"] in ("379Mi", "1Gi")


def test_kind_d_memory_never_falls_after_an_oom_kill_of_which_a_part_is_shown(field_url, analyze):
    found = states(analyze(field_url, "oom-in-part"))
    assert found["unlimited"]["memory_request"] == "1Gi"
    assert found["by-reason"]["memory_request"] == "1229Mi"
    assert found["before"]["memory_request"] in ("387Mi", "1Gi")  # it was killed before the period


def test_kind_e_jobs_and_sleepers_are_sized_by_when_they_ran(field_url, analyze):
    found = states(analyze(field_url, "jobs", "--validity", "1d"))
    assert float(found["nightly"]["cpu_request"].removesuffix("m")) == pytest.approx(1900, rel=0.2)
    assert float(found["nightly"]["memory_request"].removesuffix("Mi")) == pytest.approx(2800, rel=0.2)
    assert float(found["office"]["cpu_request"].removesuffix("m")) == pytest.approx(640, rel=0.2)


@pytest.mark.parametrize("validity", ["1d", "7d"])
def test_kind_e_a_weekly_job_is_sized_from_two_whole_runs(field_url, analyze, validity):
    (weekly,) = results(analyze(field_url, "weekly-job", "--validity", validity, period="14d")).values()
    (recommendation,) = weekly["recommendations"]
    cpu, memory = sizes(recommendation["recommended_state"])
    assert float(cpu.removesuffix("m")) == pytest.approx(1900, rel=0.2)
    assert float(memory.removesuffix("Mi")) == pytest.approx(2800, rel=0.2)
    assert recommendation["expected_improvement"]["confidence"] < 0.85
    assert "2 whole runs" in json.dumps(recommendation)


def test_kind_f_dead_pods_cost_nothing(field_url, analyze):
    (kafka,) = results(analyze(field_url, "dead-pods"))["kafka"]["recommendations"]
    assert kafka["current_state"]["replicas"] == 3
    assert kafka["expected_improvement"]["cost_reduction_percent"] == pytest.approx(72.5, abs=5)


def test_kind_k_a_ratio_and_a_quota_of_the_namespace_are_kept(field_url, analyze):
    found = results(analyze(field_url, "ratios", types=f"{RESOURCE},{SCALING}"))
    api = found["api"]["recommendations"][0]["recommended_state"]
    request, limit = (parse_memory(api[key]) for key in ("memory_request", "memory_limit"))
    assert limit <= 1.2 * request
    busy = {one["optimization_type"]: one for one in found["busy"]["recommendations"]}[SCALING]
    assert busy["recommended_state"]["replicas"] == 4  # 3 run, and the quota takes one more
    assert "raise the quota" in json.dumps(busy["reasons"])


def test_kind_k_a_full_quota_is_raised_and_nothing_is_cut_instead(field_url, analyze):
    both = results(analyze(field_url, "full-quota", types=f"{RESOURCE},COST_OPTIMIZATION"))["api"]
    alone = results(analyze(field_url, "full-quota", types="COST_OPTIMIZATION"))["api"]
    assert both["recommendations"] == alone["recommendations"] == []
    (resource,) = (one for one in both["declined"] if one["optimization_type"] == RESOURCE)
    assert resource["reason"].startswith("Raise the memory of the namespace's ResourceQuota")
    assert "at most 1Gi (cluster-limits/memory_within_cluster" in resource["reason"]
    assert "at least 1200Mi (memory-peak/recent_memory_peak" in resource["reason"]
    for result in (both, alone):
        (cost,) = (one for one in result["declined"] if one["optimization_type"] == "COST_OPTIMIZATION")
        assert "RESOURCE_OPTIMIZATION abstains from that: Raise the memory" in cost["reason"]


def test_kind_h_replicas_that_move_daily_are_scaled_by_something(field_url, analyze):
    found = results(analyze(field_url, "moving", types=f"{RESOURCE},{SCALING}"))
    moved = {one["optimization_type"]: one for one in found["moved"]["recommendations"]}[RESOURCE]
    assert sizes(moved["recommended_state"]) == ("1", "1Gi")
    assert "autoscaler_unknown" in {warning["code"] for warning in found["moved"]["warnings"]}
    declined = {one["optimization_type"]: one for one in found["moved"]["declined"]}
    assert "a second autoscaler" in declined[SCALING]["reason"]
    declined = {one["optimization_type"]: one for one in found["meshed"]["declined"]}
    assert "proxy requests CPU and has no sample" in declined[SCALING]["reason"]
    assert "bare" not in found  # nobody's template could be changed


def test_kind_f_pods_that_no_node_took_are_no_replicas(field_url, analyze):
    found = results(analyze(field_url, "pending", types=f"{RESOURCE},{SCALING}"))
    for name in ("wanted", "billion"):
        by_type = {one["optimization_type"]: one for one in found[name]["recommendations"]}
        assert by_type[SCALING]["current_state"]["replicas"] == 2, name
        assert by_type[SCALING]["no_change_needed"], (
            name
        )  # an autoscaler would save nothing, and hold requests
        assert sizes(by_type[RESOURCE]["recommended_state"]) == PLAIN, name
    (warning,) = [one for one in found["wanted"]["warnings"] if one["code"] == "pending_pods"]
    assert "(6 in all)" in json.dumps(warning)


def test_kind_g_only_the_template_s_containers_are_demand(field_url, analyze):
    for name, one in results(analyze(field_url, "containers", types=SCALING)).items():
        (recommendation,) = one["recommendations"]
        state = recommendation["recommended_state"]
        assert set(state["containers"]) == {"app", "proxy"}, name
        assert state["replicas"] == 1, name


def test_kind_g_a_flat_container_is_sized_the_same_beside_a_sidecar(field_url, analyze):
    known = results(analyze(field_url, "sidecar"))
    found = {name: one["recommendations"][0]["recommended_state"] for name, one in known.items()}
    (migrates,) = known["migrates"]["recommendations"]
    assert migrates["current_state"]["init_containers"] == {"cpu_request": "2", "memory_request": "4Gi"}
    assert migrates["expected_improvement"]["cost_reduction_percent"] == 0.0  # 2 CPU stay reserved
    assert "save nothing" in json.dumps(migrates["reasons"])
    assert {str(state["containers"]["app"]) for state in found.values()} == {
        str(dict(zip(("cpu_request", "memory_request"), PLAIN, strict=True)))
    }


def test_kind_h_nothing_is_lowered_under_an_autoscaler_that_is_seen_in_part(field_url, analyze):
    found = results(analyze(field_url, "hidden-owners"))
    assert set(found) == {"api", "web", "plain"}
    for one in found.values():
        (recommendation,) = one["recommendations"]
        assert sizes(recommendation["recommended_state"]) == ("1", "1Gi")
        assert "autoscaler_unknown" in {warning["code"] for warning in one["warnings"]}


def test_kind_h_an_autoscaler_of_which_there_is_its_status_only_holds_the_requests(field_url, analyze):
    for name, one in results(analyze(field_url, "partly-seen")).items():
        (recommendation,) = one["recommendations"]
        assert sizes(recommendation["recommended_state"]) == ("1", "1Gi"), name


def test_kind_i_pods_are_of_their_owners_whatever_their_names(field_url, analyze):
    found = results(analyze(field_url, "names"))
    assert set(found) == {LONG, "short", "app"}
    for one in found.values():
        (recommendation,) = one["recommendations"]
        assert sizes(recommendation["recommended_state"])[0] == PLAIN[0]


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ("no-state", "has use of containers, but no kube-state-metrics series"),
        ("state-ended", "they end at 2026-11-22T23:"),
        ("all-ended", "they end at 2026-11-21T17:"),
        ("pod-sums", "sums of pods only"),
        ("nowhere", "holds neither use of containers nor kube-state-metrics series"),
    ],
)
def test_kind_j_what_was_seen_is_printed_and_the_status_is_not_0(field_url, analyze, world, message):
    answer = analyze(field_url, world)
    assert answer.exit_code == 1
    assert message in answer.output
    assert "Traceback" not in answer.output


def test_kind_k_no_size_is_above_what_nodes_and_the_namespace_take(field_url, analyze):
    assert sizes(states(analyze(field_url, "limits"))["big"]) == ("6", "28Gi")


@pytest.mark.victoria
def test_kind_l_a_server_that_takes_short_queries_gives_the_same(victoria_url, analyze):
    found = states(analyze(victoria_url, "names"))
    assert set(found) == {LONG, "short", "app"}
    assert {sizes(state)[0] for state in found.values()} == {PLAIN[0]}


def test_kind_m_the_plan_is_the_same_whatever_the_day_of_analysis(field_url, analyze):
    plans = set()
    for day in (20, 22, 23):
        until = f"2026-11-{day}T00:00:00Z"
        state = states(analyze(field_url, "weekly", types=SCALING, until=until, period="14d"))["weekdays"]
        hpa = state["hpa"]
        peak = max(entry["min_replicas"] for entry in state["schedule"])
        plans.add((peak, hpa.get("min_replicas"), hpa["max_replicas"], state["replicas"]))
    ((peak, *_),) = plans
    assert peak == 5  # pods of 0.4 cores for 1.6 and a margin


def test_kind_m_one_quiet_week_does_not_flatten_a_plan(field_url, analyze):
    state = states(analyze(field_url, "quiet-week", types=SCALING, period="14d"))["weekdays"]
    assert {entry["min_replicas"] for entry in state["schedule"]} == {2, 5}


def test_kind_e_an_hourly_job_is_sized_by_the_minutes_in_which_it_ran(field_url, analyze):
    (result,) = results(analyze(field_url, "hourly-job")).values()
    (recommendation,) = result["recommendations"]
    assert "low_coverage" not in {warning["code"] for warning in result["warnings"]}
    assert parse_cpu(recommendation["recommended_state"]["cpu_request"]) < 2.0
    assert parse_memory(recommendation["recommended_state"]["memory_request"]) >= 500 * MI


def test_kind_d_a_leak_that_was_replaced_leads_to_no_more_than_its_kill(field_url, analyze):
    (result,) = results(analyze(field_url, "leak-replaced", "--validity", "4d")).values()
    (recommendation,) = result["recommendations"]
    assert recommendation["recommended_state"]["memory_request"] == "1229Mi"
    assert {"oom_killed", "leak_ended"} <= {reason["code"] for reason in recommendation["reasons"]}


def test_kind_h_an_autoscaler_by_other_metrics_stays_and_nothing_is_claimed(field_url, analyze):
    found = results(analyze(field_url, "other-triggers", types=SCALING))
    for name in ("worker", "cache", "mixed"):
        (recommendation,) = found[name]["recommendations"]
        current, target = recommendation["current_state"], recommendation["recommended_state"]
        assert "keda_scaled_object" not in target
        assert target["replicas"] >= current["replicas"]
        if name == "mixed":
            assert target["hpa"]["min_replicas"] >= current["hpa"]["min_replicas"]
            assert target["hpa"]["other_metrics"] == current["hpa"]["other_metrics"]
            assert target["cpu_request"] == current["cpu_request"]
        else:
            assert target == current
            assert recommendation["no_change_needed"]
            assert not recommendation["expected_improvement"].get("cost_reduction_percent")


def test_kind_a_series_without_namespaces_are_refused(field_url, analyze):
    refused = analyze(field_url, "renamed-places")
    assert refused.exit_code == 1
    assert "kubernetes_namespace" in refused.stderr
    assert "Internal error" not in refused.stderr


def test_kind_c_replicas_stay_where_cpu_cannot_be_and_it_is_told(field_url, analyze):
    (result,) = results(
        analyze(field_url, "unmeasured", types="COST_OPTIMIZATION,SCALING_OPTIMIZATION")
    ).values()
    for recommendation in result["recommendations"]:
        assert recommendation["recommended_state"]["replicas"] == 3
    (warning,) = [one for one in result["warnings"] if one["code"] == "low_coverage"]
    assert "implausible samples dropped" in warning["message"]
