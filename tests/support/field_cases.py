"""Situations of real clusters, each in a world of its own: what was reported publicly of each kind."""

from pathlib import Path
from typing import Any

import numpy as np
from field_lifecycle import (
    all_ended,
    dead_pods,
    hourly_job,
    jobs,
    leak_replaced,
    moving,
    oom_kills,
    oom_kills_shown_in_part,
    overlapping_restarts,
    pending_pods,
    slower_copy,
    state_ended,
    weekly_job,
)
from field_operators import cut_metrics, half_labelled, odd_autoscalers, one_job, operators
from field_world import CADVISOR, DAY, END, GI, KSM, MI, SCRAPE, TIMES, Edit, World, Worlds
from prometheus_server import Exposition

LONG = "portfolio-valuation-and-risk-reporting-gateway-eu-west-1-blue"


def build(path: Path, *only: str) -> Exposition:
    """Returns all worlds, or some, written to a file."""
    worlds = Worlds(path)
    for name, fill in CASES.items():
        if not only or name in only:
            fill(worlds.world(name))
    if not only:
        _exported(worlds)
        _two_clusters(worlds)
    return worlds.exposition


def _cpu_jumps(world: World) -> None:
    """A counter that reads 1.7e9, 0, or a little less for one scrape, cAdvisor #3611."""
    for name, limit in (("limited", 2.0), ("free", None)):
        for what, odd in (("up", 1.73e9), ("down", 0.0), ("back", -5.0)):
            (pod,) = world.deployment(
                f"{name}-{what}", cpu_limit=limit, pods=[f"{name}-{what}-6c5d8f7b9c-bcdfg"]
            )
            counter = np.cumsum(np.full(len(TIMES), 0.2 * SCRAPE))
            counter[100::360] = counter[100::360] + odd if odd < 0 else odd
            labels = {**CADVISOR, "namespace": "q", "pod": pod, "container": "app", "image": "app:1"}
            world.add(
                "container_cpu_usage_seconds_total", labels | {"id": "/odd", "name": "odd"}, TIMES, counter
            )


def _memory_glitches(world: World) -> None:
    """One sample that cannot be, cAdvisor #685; and no memory at all of a container that runs."""
    for name, value in (("more", 10.0 * GI), ("petabyte", 1e15), ("past-int64", 1e19), ("none", 0.0)):
        memory = np.full(len(TIMES), 300.0 * MI)
        memory[1000] = value
        world.deployment(name, memory=memory, memory_limit=None if name == "petabyte" else GI)


def _sidecar(world: World) -> None:
    """Flat services, one of which has a sidecar, and one an init container that requests more."""
    migrate = {"init": True, "cpu_request": 2.0, "memory_request": 4 * GI}
    world.deployment("migrates", others={"migrate": migrate})
    world.deployment("alone")
    (pod,) = world.deployment("beside", others={"proxy": {"cpu_request": 0.1, "memory_request": 64 * MI}})
    world.use(pod, "proxy", TIMES, 0.05, 50 * MI)


def _other_containers(world: World) -> None:
    """Init and debug containers are in cAdvisor; native sidecars count, marked or not."""
    sidecar = {"init": True, "cpu_request": 0.1, "memory_request": 64 * MI}
    marks: tuple[tuple[str, dict[str, str]], ...]
    marks = (("marked", {"restart_policy": "Always"}), ("unmarked", {}))
    for name, marked in marks:
        others: dict[str, dict[str, Any]] = {"proxy": {**sidecar, **marked}, "migrate": {"init": True}}
        (pod,) = world.deployment(name, others=others)
        world.use(pod, "debugger-x2", TIMES[400:430], 3.5, 7 * GI)
        world.use(pod, "migrate", TIMES[:5], 3.5, 7 * GI)
        world.use(pod, "proxy", TIMES, 0.05, 50 * MI)


def _names(world: World) -> None:
    """Names that are cut, kinds that are custom, and owners that are not shown."""
    cut = [f"{LONG}-6c5d8f7b9c"[:58] + suffix for suffix in ("bcdfg", "hjklm")]
    for pod in (*world.deployment(LONG, pods=cut), *world.deployment("short", replicas=2)):
        _requests(world, pod)
    for number, part in enumerate((TIMES[:1400], TIMES[1400:]), start=1):
        controller = f"app-{number}"
        owner = {"owner_kind": "DeploymentConfig", "owner_name": "app", "owner_is_controller": "true"}
        labels = world.place(replicationcontroller=controller, **owner)
        world.add("kube_replicationcontroller_owner", labels, part, 1)
        world.use(f"{controller}-bcdfg", "app", part, 0.2, 300 * MI)
        sizes = {"app": {"cpu_request": 1.0, "memory_request": GI}}
        world.pod(f"{controller}-bcdfg", ("ReplicationController", controller), part, sizes)


def _hidden_owners(world: World) -> None:
    """No kube_replicaset_* metrics, and autoscalers of which only the bounds are there."""
    keep = world.edit
    world.edit = lambda name, labels: None if name == "kube_replicaset_owner" else keep(name, labels)
    for name in ("api", "web", "plain"):
        world.deployment(name, replicas=2)
    for name in ("api", "scaler-of-something"):
        labels = world.place(horizontalpodautoscaler=name)
        world.add("kube_horizontalpodautoscaler_spec_min_replicas", labels, TIMES, 2)
        world.add("kube_horizontalpodautoscaler_spec_max_replicas", labels, TIMES, 8)


def _images(world: World) -> None:
    """One image, which a node calls by its digest, kube-state-metrics #1363."""
    world.owned_by_deployment("alias", "alias-6c5d8f7b9c", TIMES)
    for day in range(4):
        part = TIMES[day * 720 : (day + 1) * 720]
        image = "sha256:0f3c2a" if day == 2 else "app:1"
        info = {"image": image, "image_spec": "app:1", "image_id": "app@sha256:77aa"}
        pod = f"alias-6c5d8f7b9c-bcdf{day}"
        world.use(pod, "app", part, 0.2, 300 * MI)
        world.pod(pod, ("ReplicaSet", "alias-6c5d8f7b9c"), part, {"app": {"cpu_request": 1.0, **info}})
    world.add("kube_deployment_status_replicas", world.place(deployment="alias"), TIMES, 1)


def _copies(world: World) -> None:
    """Applications that two jobs or two servers scrape."""
    jobs = ({"job": "api", "endpoint": "http"}, {"job": "kubernetes-pods", "app": "api"})
    servers = ({"job": "api", "receive_replica": "r0"}, {"job": "api", "receive_replica": "r1"})
    for name, copies in (("once", ({"job": "api"},)), ("two-jobs", jobs), ("two-servers", servers)):
        for pod in world.deployment(name, replicas=2):
            for copy in copies:
                _requests(world, pod, **copy)


def _limits(world: World) -> None:
    """Nodes of 7.9 cores, and what a namespace allows."""
    world.deployment("big", cpu=6.6, memory=26.0 * GI, cpu_request=7.0, memory_request=28 * GI)
    for resource, most, free in (("cpu", 8, 7.9), ("memory", 32 * GI, 29 * GI)):
        node = {**KSM, "node": "n1", "resource": resource}
        world.add("kube_node_status_capacity", node, TIMES, most)
        world.add("kube_node_status_allocatable", node, TIMES, free)
        largest = {"limitrange": "l", "type": "Container", "constraint": "max", "resource": resource}
        world.add("kube_limitrange", world.place(**largest), TIMES, 6 if resource == "cpu" else 30 * GI)


def _ratios(world: World) -> None:
    """A LimitRange that bounds limit over request, and a quota that takes one replica more."""
    world.deployment("api", memory_limit=GI)
    world.deployment("busy", replicas=3, cpu=1.2, memory=600.0 * MI)
    ranges = {"limitrange": "l", "type": "Container", "constraint": "maxLimitRequestRatio"}
    world.add("kube_limitrange", world.place(resource="memory", **ranges), TIMES, 1.2)
    for sort, value in (("hard", 5.0), ("used", 4.0)):
        quota = world.place(resourcequota="q", resource="requests.cpu", type=sort)
        world.add("kube_resourcequota", quota, TIMES, value)


def _full_quota(world: World) -> None:
    """Memory that grew past its request, in a namespace whose quota of memory is used up."""
    grown = np.linspace(700.0 * MI, 1200.0 * MI, len(TIMES))
    world.deployment("api", replicas=3, cpu=0.2, memory=grown, memory_limit=1.3 * GI)
    for sort in ("hard", "used"):
        quota = world.place(resourcequota="q", resource="requests.memory", type=sort)
        world.add("kube_resourcequota", quota, TIMES, 3 * GI)


def _without_images(world: World) -> None:
    """The kubelet's /metrics/resource: container, pod and namespace and nothing else."""
    keep = world.edit

    def resource_metrics(name: str, labels: dict[str, str]) -> dict[str, str] | None:
        if name.startswith("container_"):
            labels = {k: v for k, v in labels.items() if k not in ("image", "name", "id")}
        return keep(name, labels)

    world.edit = resource_metrics
    world.deployment("api")


def _pod_sums(world: World) -> None:
    """cri-dockerd: cAdvisor has sums of pods only, kubernetes #111077."""
    keep = world.edit
    world.edit = lambda name, labels: keep(
        name,
        {
            k: v
            for k, v in labels.items()
            if not name.startswith("container_") or k not in ("container", "image")
        },
    )
    world.deployment("api")


def _without_state(world: World) -> None:
    """kube-state-metrics is not scraped."""
    keep = world.edit
    world.edit = lambda name, labels: None if name.startswith("kube_") else keep(name, labels)
    world.deployment("api")


def _partly_seen_autoscalers(world: World) -> None:
    """An autoscaler of which there is the status only, and one of kube-state-metrics 1.x."""
    for name in ("status", "old"):
        world.deployment(name, replicas=3)
    for status in ("current", "desired"):
        labels = world.place(horizontalpodautoscaler="status")
        world.add(f"kube_horizontalpodautoscaler_status_{status}_replicas", labels, TIMES, 3)
    for bound, value in (("min", 2), ("max", 9)):
        world.add(f"kube_hpa_spec_{bound}_replicas", world.place(hpa="old"), TIMES, value)


def _other_triggers(world: World) -> None:
    """Autoscalers by the length of a queue, that lets it sleep, and by memory a pod; one with CPU beside."""
    for name, least, metrics in (
        ("worker", 0, (("s0-rabbitmq-jobs", "average", 20),)),
        ("cache", 2, (("memory", "average", 500.0 * MI),)),
        ("mixed", 3, (("s0-cron", "average", 1), ("cpu", "utilization", 60))),
    ):
        world.deployment(name, replicas=3)
        hpa = world.place(horizontalpodautoscaler=f"keda-hpa-{name}" if name == "worker" else name)
        target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": name}
        world.add("kube_horizontalpodautoscaler_info", hpa | target, TIMES, 1)
        world.add("kube_horizontalpodautoscaler_spec_min_replicas", hpa, TIMES, least)
        world.add("kube_horizontalpodautoscaler_spec_max_replicas", hpa, TIMES, 20)
        for metric, how, value in metrics:
            labels = hpa | {"metric_name": metric, "metric_target_type": how}
            world.add("kube_horizontalpodautoscaler_spec_target_metric", labels, TIMES, value)


def _renamed_places(world: World) -> None:
    """All series have kubernetes_namespace and kubernetes_pod_name, as old configurations made them."""
    keep = world.edit
    names = {"namespace": "kubernetes_namespace", "pod": "kubernetes_pod_name"}
    world.edit = lambda name, labels: keep(name, {names.get(k, k): v for k, v in labels.items()})
    world.deployment("api")


def _unmeasured(world: World) -> None:
    """CPU counted in nanoseconds, so that none of it can be."""
    world.deployment("api", replicas=3, cpu=0.2e9)


def _asked_for_only(world: World) -> None:
    """A service that runs in office hours, whose replicas are shown as asked for only."""
    for day in range(4):
        part, pod = TIMES[day * 720 + 240 : day * 720 + 540], f"office-6c5d8f7b9c-bcdf{day}"
        world.use(pod, "app", part, 0.5, 400 * MI)
        world.pod(pod, ("ReplicaSet", "office-6c5d8f7b9c"), part, {"app": {"cpu_request": 2.0}})
    world.owned_by_deployment("office", "office-6c5d8f7b9c", TIMES)
    hour = TIMES % DAY / 3600
    awake = ((hour >= 8) & (hour < 18)).astype(float)
    world.add("kube_deployment_spec_replicas", world.place(deployment="office"), TIMES, awake)


def _old_labels(world: World) -> None:
    """cAdvisor of a Kubernetes before 1.16: pod_name and container_name."""
    keep, new = world.edit, {"pod": "pod_name", "container": "container_name"}

    def renamed(name: str, labels: dict[str, str]) -> dict[str, str] | None:
        if name.startswith("container_"):
            labels = {new.get(label, label): value for label, value in labels.items()}
        return keep(name, labels)

    world.edit = renamed
    world.deployment("api")


def _without_cadvisor(world: World) -> None:
    """kube-state-metrics alone."""
    keep = world.edit
    world.edit = lambda name, labels: None if name.startswith("container_") else keep(name, labels)
    world.deployment("api")


def _odd_declarations(world: World) -> None:
    """Requests and limits that no node could take, or that are none."""
    world.deployment("huge", cpu_request=1e18, memory_request=1e19)
    world.deployment("none", cpu_limit=0.0, memory_limit=float("nan"))
    world.deployment("negative", cpu_request=-1.0)


def _weekly(world: World) -> None:
    """A service that has load on weekdays only, kedacore/keda #4677."""
    world.scrape = 150
    world.times = np.arange(END - 21 * DAY, END, world.scrape)
    hour, weekday = world.times % DAY / 3600, (world.times // DAY + 3) % 7
    busy = (weekday < 5) & (hour >= 8) & (hour < 18)
    world.deployment("weekdays", replicas=2, cpu=np.where(busy, 0.8, 0.05), cpu_request=0.4)


def _quiet_week(world: World) -> None:
    """The same, and nobody was there in the latest week."""
    world.scrape = 150
    world.times = np.arange(END - 14 * DAY, END, world.scrape)
    hour, weekday = world.times % DAY / 3600, (world.times // DAY + 3) % 7
    busy = (weekday < 5) & (hour >= 8) & (hour < 18) & (world.times < END - 7 * DAY)
    world.deployment("weekdays", replicas=2, cpu=np.where(busy, 0.8, 0.05), cpu_request=0.4)


def _opencost(world: World) -> None:
    """OpenCost exports requests of its own reckoning under kube-state-metrics' names."""
    (pod,) = world.deployment("api")
    own = {"job": "opencost", "namespace": "q", "pod": pod, "container": "app", "uid": f"uid-{pod}"}
    for resource, unit, value in (("cpu", "core", 4.0), ("memory", "byte", 8.0 * GI)):
        for sort in ("requests", "limits"):
            labels = own | {"resource": resource, "unit": unit}
            world.add(f"kube_pod_container_resource_{sort}", labels, TIMES, value)


def _exported(worlds: Worlds) -> None:
    """kube-state-metrics scraped without honor_labels, helm-charts #1368; in one world beside another one."""

    def scraped(name: str, labels: dict[str, str]) -> dict[str, str]:
        if labels.get("job") == "kube-state-metrics":
            own = {f"exported_{k}": labels.pop(k) for k in ("namespace", "pod", "container") if k in labels}
            labels |= own | {"namespace": "monitoring", "pod": "ksm-6c5d8f7b9c-bcdfg", "container": "ksm"}
        return labels

    world = worlds.world("exported", scraped)
    world.deployment("db")
    both = worlds.world("exported-beside", scraped)
    both.deployment("db")
    both.edit = lambda _, labels: labels
    both.deployment("api")


def _two_clusters(worlds: Worlds) -> None:
    """Two clusters told apart by a label that is not `cluster`, opencost #2979; and copies that are not."""
    for name, label, values, cpus in (
        ("two-clusters", "k8s_cluster", ("prod", "dev"), (2.0, 0.1)),
        ("two-servers", "scraper", ("a", "b"), (0.2, 0.2)),
    ):
        for value, cpu in zip(values, cpus, strict=True):
            world = worlds.world(name, _labelled({label: value}))
            suffix = value if label == "k8s_cluster" else "bcdfg"
            world.deployment("api", cpu=cpu, pods=[f"api-6c5d8f7b9c-{suffix}"])


def _labelled(more: dict[str, str]) -> Edit:
    return lambda _, labels: labels | more


def _requests(world: World, pod: str, **labels: str) -> None:
    counter = np.cumsum(np.full(len(TIMES), 50.0 * SCRAPE))
    own = {"namespace": "q", "pod": pod, "code": "200", "instance": f"{pod}:8080"} | labels
    world.add("http_requests_total", own, TIMES, counter)


CASES = {
    "cpu-jumps": _cpu_jumps,
    "memory": _memory_glitches,
    "oom": oom_kills,
    "oom-in-part": oom_kills_shown_in_part,
    "sidecar": _sidecar,
    "containers": _other_containers,
    "dead-pods": dead_pods,
    "pending": pending_pods,
    "ratios": _ratios,
    "full-quota": _full_quota,
    "moving": moving,
    "jobs": jobs,
    "names": _names,
    "hidden-owners": _hidden_owners,
    "images": _images,
    "copies": _copies,
    "limits": _limits,
    "no-images": _without_images,
    "pod-sums": _pod_sums,
    "no-state": _without_state,
    "state-ended": state_ended,
    "all-ended": all_ended,
    "restarts-overlap": overlapping_restarts,
    "slower-copy": slower_copy,
    "weekly": _weekly,
    "quiet-week": _quiet_week,
    "opencost": _opencost,
    "weekly-job": weekly_job,
    "partly-seen": _partly_seen_autoscalers,
    "asked-for-only": _asked_for_only,
    "old-labels": _old_labels,
    "hourly-job": hourly_job,
    "leak-replaced": leak_replaced,
    "other-triggers": _other_triggers,
    "renamed-places": _renamed_places,
    "unmeasured": _unmeasured,
    "no-cadvisor": _without_cadvisor,
    "odd-declarations": _odd_declarations,
    "operators": operators,
    "odd-autoscalers": odd_autoscalers,
    "one-job": one_job,
    "half-labelled": half_labelled,
    "cut-metrics": cut_metrics,
}
