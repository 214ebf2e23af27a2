import pytest
from simulated_objects import DEPLOYMENTS, PODS, deployment, sized


def resources(answer):
    return answer.body["spec"]["template"]["spec"]["containers"][0]["resources"]


def test_other_spellings_of_a_quantity_change_nothing(ask):
    ask("POST", DEPLOYMENTS, deployment())
    before = ask("GET", f"{DEPLOYMENTS}/checkout").body["metadata"]
    answer = ask("PATCH", f"{DEPLOYMENTS}/checkout", sized(requests={"cpu": "0.1"}), patch="strategic")
    assert answer.body["metadata"] == before


@pytest.mark.parametrize(
    ("given", "stored"),
    [("1000m", "1"), ("0.1m", "1m"), ("1E-1", "100e-3"), (0.5, "500m")],
)
def test_quantities_are_stored_canonically(ask, given, stored):
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": given}}
    assert resources(ask("POST", DEPLOYMENTS, body))["requests"]["cpu"] == stored


def test_bad_quantity_fails_by_how_it_is_sent(ask):
    ask("POST", DEPLOYMENTS, deployment())
    bad = sized(requests={"cpu": "500mm"})
    path = f"{DEPLOYMENTS}/checkout"
    patched = ask("PATCH", path, bad, patch="strategic")
    assert (patched.status, patched.body["details"]["causes"][0]["field"]) == (422, "patch")
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"}}
    applied = ask("PATCH", f"{path}?fieldManager=perfopt", head | bad, patch="apply")
    assert applied.status == 500
    assert "reason" not in applied.body
    body = deployment("other")
    body["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "500mm"
    assert ask("POST", DEPLOYMENTS, body).status == 400


def test_annotation_raises_generation_and_label_does_not(ask):
    ask("POST", DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/checkout"
    marked = ask("PATCH", path, {"metadata": {"annotations": {"a": "b"}}}, patch="merge")
    assert marked.body["metadata"]["generation"] == 2
    labelled = ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, patch="merge")
    assert labelled.body["metadata"]["generation"] == 2


def test_dry_run_answers_with_a_generation_that_never_comes(ask):
    ask("POST", DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/checkout"
    tried = ask("PATCH", f"{path}?dryRun=All", sized(requests={"cpu": "200m"}), patch="strategic")
    assert tried.body["metadata"]["generation"] == 2
    assert ask("GET", path).body["metadata"]["generation"] == 1


def test_stale_put_is_a_conflict_and_one_without_version_overwrites(ask):
    created = ask("POST", DEPLOYMENTS, deployment()).body
    path = f"{DEPLOYMENTS}/checkout"
    ask("PATCH", path, {"spec": {"replicas": 3}}, patch="merge")
    stale = ask("PUT", path, created)
    assert (stale.status, stale.body["details"]["name"]) == (409, "checkout")
    assert ask("PUT", path, deployment()).status == 200


def test_strategic_patch_keeps_the_other_container_and_merge_patch_does_not(ask):
    ask("POST", DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/checkout?dryRun=All"
    strategic = ask("PATCH", path, sized(requests={"cpu": "1m"}), patch="strategic").body
    assert len(strategic["spec"]["template"]["spec"]["containers"]) == 2
    whole = {"name": "app", "image": "registry.example/app:2"}
    merged = ask("PATCH", path, {"spec": {"template": {"spec": {"containers": [whole]}}}}, patch="merge")
    assert len(merged.body["spec"]["template"]["spec"]["containers"]) == 1


def test_json_patch_whose_test_fails_is_refused_without_naming_it(ask):
    ask("POST", DEPLOYMENTS, deployment())
    operations = [{"op": "test", "path": "/spec/replicas", "value": 7}]
    answer = ask("PATCH", f"{DEPLOYMENTS}/checkout", operations, patch="json")
    assert (answer.status, answer.body["details"]) == (422, {})


def test_pod_resources_change_through_resize_only(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment(replicas=1))
    cluster.advance(5)
    (pod,) = ask("GET", PODS).body["items"]
    path = f"{PODS}/{pod['metadata']['name']}"
    bigger = {"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "200m"}}}]}}
    assert ask("PATCH", path, bigger, patch="strategic").status == 422
    resized = ask("PATCH", f"{path}/resize", bigger, patch="strategic").body
    assert resized["status"]["containerStatuses"][0]["resources"]["requests"]["cpu"] == "100m"
    cluster.advance(5)
    after = ask("GET", path).body["status"]
    assert after["containerStatuses"][0]["resources"]["requests"]["cpu"] == "200m"
    assert all(each["type"] != "PodResizeInProgress" for each in after["conditions"])


def test_resize_over_the_node_is_refused_in_millicores(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment(replicas=1))
    cluster.advance(5)
    (pod,) = ask("GET", PODS).body["items"]
    huge = {"requests": {"cpu": "100"}, "limits": {"cpu": "100"}}
    body = {"spec": {"containers": [{"name": "app", "resources": huge}]}}
    answer = ask("PATCH", f"{PODS}/{pod['metadata']['name']}/resize", body, patch="strategic")
    assert answer.status == 403
    assert answer.body["message"].endswith("cpu, requested: 100000, allocatable: 64000")
    assert answer.body["details"]["causes"] == [{"reason": "NodeCapacity"}]
