"""Situations of real clusters, each in a world of its own: what was reported publicly of each kind."""

from pathlib import Path
from typing import Any

import numpy as np
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


def _oom_kills(world: World) -> None:
    """Kills as each source shows them: kube-state-metrics #344, #2153, kubernetes-mixin PR #822."""
    reason = "kube_pod_container_status_last_terminated_reason"
    for name, oom in (("by-error", 0.0), ("by-oom", 1.0)):
        (pod,) = world.deployment(name, memory_limit=GI)
        place = world.place(pod=pod, container="app", uid=f"uid-{pod}")
        steps = np.searchsorted([1000, 2000], np.arange(len(TIMES)), "right").astype(float)
        world.add("kube_pod_container_status_restarts_total", place | {"copy": "later"}, TIMES, steps)
        for why, value in (("OOMKilled", oom), ("Error", 1 - oom)):
            world.add(reason, place | {"reason": why}, TIMES[1000:], value)
    (pod,) = world.deployment("child", memory_limit=GI)
    kills = np.zeros(len(TIMES))
    kills[1500:] = 3
    labels = {**CADVISOR, "namespace": "q", "pod": pod, "container": "app", "image": "app:1"}
    world.add("container_oom_events_total", labels, TIMES, kills)
    late = TIMES[1500:]
    world.owned_by_deployment("at-birth", "at-birth-6c5d8f7b9c", TIMES)
    pod = "at-birth-6c5d8f7b9c-bcdfg"
    world.use(pod, "app", late, 0.2, 300 * MI)
    world.pod(pod, ("ReplicaSet", "at-birth-6c5d8f7b9c"), late, {"app": {"memory_limit": GI}}, restarts=2.0)
    place = world.place(pod=pod, container="app", uid=f"uid-{pod}")
    world.add(reason, place | {"reason": "OOMKilled"}, late, 1)
    world.add("kube_deployment_status_replicas", world.place(deployment="at-birth"), TIMES, 1)
    world.use("batch-29-q1xyz", "app", TIMES[100:200], 0.2, 300 * MI)
    world.pod("batch-29-q1xyz", ("Job", "batch-29"), TIMES[100:], {"app": {"memory_limit": GI}})
    owner = {"owner_kind": "CronJob", "owner_name": "batch", "owner_is_controller": "true"}
    world.add("kube_job_owner", world.place(job_name="batch-29", **owner), TIMES[100:], 1)
    ended = world.place(pod="batch-29-q1xyz", container="app", reason="OOMKilled")
    world.add("kube_pod_container_status_terminated_reason", ended, TIMES[200:], 1)


def _oom_kills_shown_in_part(world: World) -> None:
    """Kills without a memory limit, and without a counter of restarts."""
    (pod,) = world.deployment("unlimited")
    kills = np.where(np.arange(len(TIMES)) < 1500, 0.0, 3.0)
    labels = {**CADVISOR, "namespace": "q", "pod": pod, "container": "app", "image": "app:1"}
    world.add("container_oom_events_total", labels, TIMES, kills)
    keep = world.edit
    world.edit = lambda name, labels: None if "restarts" in name else keep(name, labels)
    for name, since in (("by-reason", 1000), ("before", 0)):
        (pod,) = world.deployment(name, memory_limit=GI)
        place = world.place(pod=pod, container="app", uid=f"uid-{pod}", reason="OOMKilled")
        world.add("kube_pod_container_status_last_terminated_reason", place, TIMES[since:], 1)


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


def _dead_pods(world: World) -> None:
    """Failed and evicted pods stay in kube-state-metrics, #458 and #1051."""
    sizes = {"app": {"cpu_request": 1.0, "memory_request": GI}}
    for i in range(3):
        pod = f"kafka-{i}"
        world.use(pod, "app", TIMES, 0.2, 300 * MI)
        world.pod(pod, ("StrimziPodSet", "kafka"), TIMES, sizes)
        world.add("kube_pod_status_phase", world.place(pod=pod, phase="Running"), TIMES, 1)
    for i in range(4):
        pod, begin = f"kafka-old{i}", 100 * i
        world.use(pod, "app", TIMES[begin : begin + 50], 0.2, 300 * MI)
        world.pod(pod, ("StrimziPodSet", "kafka"), TIMES[begin:], sizes)
        phase = world.place(pod=pod, phase="Failed")
        world.add("kube_pod_status_phase", phase, TIMES[begin + 50 :], 1)


def _pending_pods(world: World) -> None:
    """Eight replicas are wanted, and no node takes six of them; and a billion of another."""
    for name, wanted in (("wanted", 8.0), ("billion", 1e9)):
        world.deployment(name, replicas=2)
        labels = world.place(deployment=name) | {"copy": "larger"}
        world.add("kube_deployment_status_replicas", labels, TIMES, wanted)
    for i in range(6):
        pod, owner = f"wanted-6c5d8f7b9c-wait{i}", ("ReplicaSet", "wanted-6c5d8f7b9c")
        world.pod(pod, owner, TIMES, {"app": {"cpu_request": 1.0, "memory_request": GI}})
        world.add("kube_pod_status_phase", world.place(pod=pod, phase="Pending"), TIMES, 1)


def _jobs(world: World) -> None:
    """A job of three hours a night whose pods stay, and a service that runs in office hours."""
    for day in range(4):
        part, kept = TIMES[day * 720 + 60 : day * 720 + 150], TIMES[day * 720 + 60 :]
        pod, job = f"nightly-2900{day}-q1xyz", f"nightly-2900{day}"
        world.use(pod, "app", part, 1.5, 2 * GI)
        world.pod(pod, ("Job", job), kept, {"app": {"cpu_request": 4.0, "memory_request": 8 * GI}})
        owner = {"owner_kind": "CronJob", "owner_name": "nightly", "owner_is_controller": "true"}
        world.add("kube_job_owner", world.place(job_name=job, **owner), kept, 1)
        office = TIMES[day * 720 + 240 : day * 720 + 540]
        pod = f"office-6c5d8f7b9c-bcdf{day}"
        world.use(pod, "app", office, 0.5, 400 * MI)
        sizes = {"app": {"cpu_request": 2.0, "memory_request": 2 * GI}}
        world.pod(pod, ("ReplicaSet", "office-6c5d8f7b9c"), office, sizes)
    world.add("kube_cronjob_info", world.place(cronjob="nightly"), TIMES, 1)
    world.owned_by_deployment("office", "office-6c5d8f7b9c", TIMES)
    hour = TIMES % DAY / 3600
    awake = ((hour >= 8) & (hour < 18)).astype(float)
    world.add("kube_deployment_status_replicas", world.place(deployment="office"), TIMES, awake)


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


def _moving(world: World) -> None:
    """Replicas that something unseen sets by the hour of the day; a bare pod; a container without samples."""
    hour = TIMES % DAY / 3600
    count = np.where((hour >= 8) & (hour < 18), 3.0, 2.0)
    sizes = {"app": {"cpu_request": 1.0, "memory_request": GI}}
    for i in range(3):
        part, pod = TIMES[count > i], f"moved-6c5d8f7b9c-bcdf{i}"
        world.use(pod, "app", part, 0.2, 300 * MI)
        world.pod(pod, ("ReplicaSet", "moved-6c5d8f7b9c"), part, sizes)
    world.owned_by_deployment("moved", "moved-6c5d8f7b9c", TIMES)
    world.add("kube_deployment_status_replicas", world.place(deployment="moved"), TIMES, count)
    world.use("bare", "app", TIMES, 0.2, 300 * MI)
    world.pod("bare", ("", ""), TIMES, sizes)
    world.deployment("meshed", replicas=3, others={"proxy": {"cpu_request": 0.5, "memory_request": GI}})


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


def _state_ended(world: World) -> None:
    """kube-state-metrics was killed twenty minutes ago."""
    world.use("api-6c5d8f7b9c-bcdfg", "app", TIMES, 0.2, 300 * MI)
    world.times = TIMES[TIMES[-1] - 1200 > TIMES]
    keep = world.edit
    world.edit = lambda name, labels: None if name.startswith("container_") else keep(name, labels)
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


def _weekly_job(world: World) -> None:
    """A job of three hours a week that ran twice."""
    times = np.arange(END - 14 * DAY, END, SCRAPE)
    for run in range(2):
        begin = run * 5040 + 60
        part, kept = times[begin : begin + 90], times[begin : begin + 200]
        pod, job = f"weekly-2900{run}-q1xyz", f"weekly-2900{run}"
        world.use(pod, "app", part, 1.5, 2 * GI)
        world.pod(pod, ("Job", job), kept, {"app": {"cpu_request": 4.0, "memory_request": 8 * GI}})
        owner = {"owner_kind": "CronJob", "owner_name": "weekly", "owner_is_controller": "true"}
        world.add("kube_job_owner", world.place(job_name=job, **owner), kept, 1)
    world.add("kube_cronjob_info", world.place(cronjob="weekly"), times, 1)


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
    "oom": _oom_kills,
    "oom-in-part": _oom_kills_shown_in_part,
    "sidecar": _sidecar,
    "containers": _other_containers,
    "dead-pods": _dead_pods,
    "pending": _pending_pods,
    "ratios": _ratios,
    "moving": _moving,
    "jobs": _jobs,
    "names": _names,
    "hidden-owners": _hidden_owners,
    "images": _images,
    "copies": _copies,
    "limits": _limits,
    "no-images": _without_images,
    "pod-sums": _pod_sums,
    "no-state": _without_state,
    "state-ended": _state_ended,
    "weekly": _weekly,
    "quiet-week": _quiet_week,
    "opencost": _opencost,
    "weekly-job": _weekly_job,
    "partly-seen": _partly_seen_autoscalers,
    "asked-for-only": _asked_for_only,
    "old-labels": _old_labels,
    "no-cadvisor": _without_cadvisor,
    "odd-declarations": _odd_declarations,
}
