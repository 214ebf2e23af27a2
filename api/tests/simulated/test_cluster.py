from simulated_objects import DEPLOYMENTS, PODS, deployment, sized

from perfopt_api.simulated.kubernetes.clock import ManualClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request

PATH = f"{DEPLOYMENTS}/checkout"


def progress(ask):
    status = ask("GET", PATH).body["status"]
    return next((c for c in status.get("conditions", ()) if c["type"] == "Progressing"), {})


def test_rollout_ends_with_the_new_replica_set_available(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment())
    cluster.advance(5)
    patched = ask("PATCH", PATH, sized(requests={"cpu": "200m"}), patch="strategic").body
    assert patched["status"]["observedGeneration"] < patched["metadata"]["generation"]
    assert cluster.until(lambda: progress(ask)["reason"] == "ReplicaSetUpdated")
    assert cluster.until(lambda: progress(ask)["reason"] == "NewReplicaSetAvailable")
    status = ask("GET", PATH).body["status"]
    assert (status["replicas"], status["updatedReplicas"], status["observedGeneration"]) == (2, 2, 2)


def test_rollout_that_is_never_ready_exceeds_its_deadline_and_old_pods_serve(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment(progressDeadlineSeconds=6))
    cluster.advance(5)
    bad = sized(requests={"cpu": "50m"})
    bad["spec"]["template"]["metadata"] = {"labels": {"behaviour": "never-ready"}}
    ask("PATCH", PATH, bad, patch="strategic")
    assert cluster.until(lambda: progress(ask)["reason"] == "ProgressDeadlineExceeded", seconds=15)
    status = ask("GET", PATH).body["status"]
    assert status["availableReplicas"] == 2


def test_memory_limit_below_use_is_killed_and_backs_off(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment())
    cluster.advance(5)
    small = sized(requests={"memory": "16Mi"}, limits={"memory": "24Mi"})
    ask("PATCH", PATH, small, patch="strategic")
    cluster.advance(3)
    states = [pod["status"]["containerStatuses"][0] for pod in ask("GET", PODS).body["items"]]
    killed = next(state for state in states if state["restartCount"])
    assert killed["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert killed["state"]["waiting"]["reason"] == "CrashLoopBackOff"


def test_autoscaler_raises_to_its_minimum_and_owns_replicas(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment(replicas=1))
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "checkout"},
        "spec": {
            "minReplicas": 3,
            "maxReplicas": 6,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        },
    }
    ask("POST", "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", body)
    cluster.advance(20)
    found = ask("GET", PATH).body
    assert found["spec"]["replicas"] == 3
    owner = next(e for e in found["metadata"]["managedFields"] if e.get("subresource") == "scale")
    assert owner["manager"] == "kube-controller-manager"


def test_eviction_over_budget_is_429_also_as_a_dry_run(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment())
    selector = {"matchLabels": {"app": "checkout"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "checkout"},
        "spec": {"minAvailable": 2, "selector": selector},
    }
    ask("POST", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget)
    cluster.advance(5)
    name = ask("GET", PODS).body["items"][0]["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    answer = ask("POST", f"{PODS}/{name}/eviction?dryRun=All", body)
    assert answer.status == 429
    text = "The disruption budget checkout needs 2 healthy pods and has 2 currently"
    assert answer.body["details"]["causes"] == [{"reason": "DisruptionBudget", "message": text}]


def test_watch_tells_what_leaves_its_selector_as_deleted_and_expires(ask, cluster):
    ask("POST", DEPLOYMENTS, deployment())
    cluster.advance(5)
    ask("PATCH", PATH, {"metadata": {"labels": {"tier": "web"}}}, patch="merge")
    version = ask("GET", DEPLOYMENTS).body["metadata"]["resourceVersion"]
    watch = ask("GET", f"{DEPLOYMENTS}?watch=true&labelSelector=tier%3Dweb&resourceVersion={version}").stream
    ask("PATCH", PATH, {"metadata": {"labels": {"tier": "batch"}}}, patch="merge")
    (event,) = watch.poll(cluster.clock.now())
    assert (event["type"], event["object"]["metadata"]["labels"]["tier"]) == ("DELETED", "web")
    cluster.store.expire()
    again = ask("GET", f"{DEPLOYMENTS}?watch=true&resourceVersion={version}").stream
    (error,) = again.poll(cluster.clock.now())
    assert (error["type"], error["object"]["code"]) == ("ERROR", 410)


def test_service_account_may_do_what_its_role_allows(cluster, ask):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "scaler"}}
    cluster.create("/api/v1/namespaces/shop/serviceaccounts", account)
    group = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
    rules = [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"]}]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "scaler"}}
    cluster.create(f"{group}/roles", head | {"kind": "Role", "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "scaler"}
    subjects = [{"kind": "ServiceAccount", "name": "scaler", "namespace": "shop"}]
    binding = head | {"kind": "RoleBinding", "roleRef": reference, "subjects": subjects}
    cluster.create(f"{group}/rolebindings", binding)
    ask("POST", DEPLOYMENTS, deployment())
    token = {"Authorization": f"Bearer {cluster.api.access.token('shop', 'scaler')}"}
    assert cluster.handle(Request.of("GET", f"{PATH}/scale", token)).status == 200
    assert cluster.handle(Request.of("GET", PATH, token)).status == 403
    assert (
        cluster.handle(Request.of("GET", PATH)).body["message"].startswith('deployments.apps "checkout" is')
    )
    assert cluster.handle(Request.of("GET", PATH, {"Authorization": "Bearer x"})).status == 401


def test_same_seed_gives_the_same_names():
    def names() -> list[str]:
        cluster = SimulatedCluster(ManualClock(), ClusterOptions(seed=4))
        cluster.create(DEPLOYMENTS.replace("shop", "default"), deployment())
        cluster.advance(2)
        return [pod["metadata"]["name"] for pod in cluster.get("/api/v1/namespaces/default/pods")["items"]]

    assert names() == names() != []
