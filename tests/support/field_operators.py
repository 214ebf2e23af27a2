"""Workloads that operators make and scale, and clusters whose metrics are cut or labelled by halves."""

import numpy as np
from field_world import CADVISOR, DAYS, GI, KSM, MI, TIMES, World

SIZES = {"cpu_request": 2.0, "memory_request": 4 * GI}


def operators(world: World) -> None:
    """Knative, Flink's native mode, CloudNativePG, KEDA's ScaledJob, an Argo Rollout with an autoscaler."""
    _knative(world, "hello-00001-deployment")
    world.deployment("flink")
    for i in range(2):  # an operator makes them, the Deployment owns them, and its template is another
        pod = f"flink-taskmanager-1-{i}"
        world.use(pod, "app", TIMES, 0.9, 3 * GI)
        world.pod(pod, ("Deployment", "flink"), TIMES, {"app": SIZES})
    for i in range(3):
        world.use(f"pg-{i}", "postgres", TIMES, 0.2, 300 * MI)
        world.pod(f"pg-{i}", ("Cluster", "pg"), TIMES, {"postgres": SIZES})
    for run in range(15 * DAYS):
        begin, job = run * 48, f"work-{run:03d}xy"
        kept = TIMES[begin : begin + 60]
        world.use(f"{job}-bcdfg", "app", TIMES[begin : begin + 20], 1.2, 500 * MI)
        world.pod(f"{job}-bcdfg", ("Job", job), kept, {"app": SIZES})
        owner = {"owner_kind": "ScaledJob", "owner_name": "work", "owner_is_controller": "true"}
        world.add("kube_job_owner", world.place(job_name=job, **owner), kept, 1)
    replicaset = "roll-6c5d8f7b9c"
    owner = {"owner_kind": "Rollout", "owner_name": "roll", "owner_is_controller": "true"}
    world.add("kube_replicaset_owner", world.place(replicaset=replicaset, **owner), TIMES, 1)
    for i in range(3):
        world.use(f"{replicaset}-bcdf{i}", "app", TIMES, 0.2, 300 * MI)
        world.pod(f"{replicaset}-bcdf{i}", ("ReplicaSet", replicaset), TIMES, {"app": SIZES})
    world.add("rollout_info_replicas_available", world.place(name="roll"), TIMES, 3)
    autoscaler(world, "roll", kind="Rollout")


def _knative(world: World, name: str) -> None:
    """A revision that is asleep but for twenty minutes ten times a day."""
    replicaset, replicas = f"{name}-6c5d8f7b9c", np.zeros(len(TIMES))
    world.owned_by_deployment(name, replicaset, TIMES)
    for run in range(10 * DAYS):
        part, pod = slice(run * 72, run * 72 + 10), f"{replicaset}-bcd{run:02d}"
        replicas[part] = 1
        world.use(pod, "user-container", TIMES[part], 0.6, 200 * MI)
        world.use(pod, "queue-proxy", TIMES[part], 0.02, 30 * MI)
        containers = {"user-container": SIZES, "queue-proxy": {"cpu_request": 0.025}}
        world.pod(pod, ("ReplicaSet", replicaset), TIMES[part], containers)
    world.add("kube_deployment_status_replicas", world.place(deployment=name), TIMES, replicas)


def autoscaler(
    world: World, name: str, kind: str = "Deployment", most: float = 9, percent: float = 70
) -> None:
    """Adds an autoscaler of the workload of its name, by use of CPU."""
    own = world.place(horizontalpodautoscaler=name)
    target = {"scaletargetref_kind": kind, "scaletargetref_name": name}
    world.add("kube_horizontalpodautoscaler_info", own | target, TIMES, 1)
    world.add("kube_horizontalpodautoscaler_spec_min_replicas", own, TIMES, 2)
    world.add("kube_horizontalpodautoscaler_spec_max_replicas", own, TIMES, most)
    cpu = {"metric_name": "cpu", "metric_target_type": "utilization"}
    world.add("kube_horizontalpodautoscaler_spec_target_metric", own | cpu, TIMES, percent)


def odd_autoscalers(world: World) -> None:
    """A maximum that no cluster could run, and a target of 0 %."""
    for name, most, percent in (("huge", 1e10, 70), ("idle", 9, 0)):
        world.deployment(name, replicas=2)
        autoscaler(world, name, most=most, percent=percent)


def one_job(world: World) -> None:
    """OpenCost and kube-state-metrics are targets of one job, as with discovery by annotations."""
    keep, job = world.edit, {"job": "kubernetes-pods"}
    world.edit = lambda name, labels: keep(name, labels | (job if labels["job"] == KSM["job"] else {}))
    (pod,) = world.deployment("api")
    own = {**job, "instance": "10.0.9.9:9003", "namespace": "q", "pod": pod, "container": "app"}
    for resource, value in (("cpu", 4.0), ("memory", 8.0 * GI)):
        labels = own | {"resource": resource, "uid": f"uid-{pod}"}
        world.add("kube_pod_container_resource_requests", labels, TIMES, value)


def half_labelled(world: World) -> None:
    """cAdvisor has the label cluster, and kube-state-metrics has not."""
    keep = world.edit
    world.edit = lambda name, labels: keep(
        name, labels | ({"cluster": "prod"} if labels["job"] == CADVISOR["job"] else {})
    )
    world.deployment("api")


def cut_metrics(world: World) -> None:
    """Allow-lists without the CPU of one service, the memory of another, and the owner of a third's pods."""
    keep = world.edit
    cut = {"no-cpu": "cpu_usage", "no-memory": "memory_working_set", "no-owner": "kube_pod_owner"}

    def let_through(name: str, labels: dict[str, str]) -> dict[str, str] | None:
        hidden = any(what in name and labels.get("pod", "").startswith(who) for who, what in cut.items())
        return None if hidden else keep(name, labels)

    world.edit = let_through
    for name in cut:
        world.deployment(name)
