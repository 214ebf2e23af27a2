"""Situations in which workloads, pods and containers come, go, or are partly seen."""

import numpy as np
from field_world import CADVISOR, DAY, END, GI, MI, SCRAPE, TIMES, World


def oom_kills(world: World) -> None:
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


def oom_kills_shown_in_part(world: World) -> None:
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


def dead_pods(world: World) -> None:
    """Pods that failed, were evicted or lost with a node stay in kube-state-metrics, #458 and #1051."""
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
        phase = world.place(pod=pod, phase="Unknown" if i == 3 else "Failed")
        world.add("kube_pod_status_phase", phase, TIMES[begin + 50 :], 1)


def pending_pods(world: World) -> None:
    """Eight replicas are wanted, and no node takes six of them; and a billion of another."""
    for name, wanted in (("wanted", 8.0), ("billion", 1e9)):
        world.deployment(name, replicas=2)
        labels = world.place(deployment=name) | {"copy": "larger"}
        world.add("kube_deployment_status_replicas", labels, TIMES, wanted)
    for i in range(6):
        pod, owner = f"wanted-6c5d8f7b9c-wait{i}", ("ReplicaSet", "wanted-6c5d8f7b9c")
        world.pod(pod, owner, TIMES, {"app": {"cpu_request": 1.0, "memory_request": GI}})
        world.add("kube_pod_status_phase", world.place(pod=pod, phase="Pending"), TIMES, 1)


def jobs(world: World) -> None:
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


def moving(world: World) -> None:
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


def state_ended(world: World) -> None:
    """kube-state-metrics was killed twenty minutes ago."""
    world.use("api-6c5d8f7b9c-bcdfg", "app", TIMES, 0.2, 300 * MI)
    world.times = TIMES[TIMES[-1] - 1200 > TIMES]
    keep = world.edit
    world.edit = lambda name, labels: None if name.startswith("container_") else keep(name, labels)
    world.deployment("api")


def overlapping_restarts(world: World) -> None:
    """A container restarts each day; its old series goes on for three scrapes beside the new one."""
    (pod,) = world.deployment("api", cpu=0.0, memory=0.0)
    for day in range(4):
        part = TIMES[day * 720 : (day + 1) * 720 + 3]
        world.use(pod, "app", part, 0.2, 300 * MI, id=f"/{pod}/app-{day}", name=f"{pod}-app-{day}")


def slower_copy(world: World) -> None:
    """A second server, under a label of its own, that takes half of the samples 11 seconds later."""
    servers = (("a", TIMES, SCRAPE), ("b", TIMES[::2] + 11, 2 * SCRAPE))

    def scraped(_: str, labels: dict[str, str]) -> dict[str, str]:
        return labels | {"scraper": server}

    world.edit = scraped
    for server, world.times, world.scrape in servers:  # noqa: B007  read by `scraped`
        world.deployment("api")


def all_ended(world: World) -> None:
    """Nothing was scraped in the last thirty hours."""
    world.times = TIMES[TIMES[-1] - 30 * 3600 > TIMES]
    world.deployment("api")


def weekly_job(world: World) -> None:
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


def hourly_job(world: World) -> None:
    """A job of eight minutes each hour: two steps a run, in the second of which there is one scrape."""
    for hour in range(96):
        part = TIMES[hour * 30 : hour * 30 + 4]
        job = f"sync-29{hour:03d}"
        pod = f"{job}-q1xyz"
        world.use(pod, "app", part, 0.5, 500 * MI)
        world.pod(pod, ("Job", job), part, {"app": {"cpu_request": 4.0, "memory_request": 2 * GI}})
        owner = {"owner_kind": "CronJob", "owner_name": "sync", "owner_is_controller": "true"}
        world.add("kube_job_owner", world.place(job_name=job, **owner), part, 1)
    world.add("kube_cronjob_info", world.place(cronjob="sync"), TIMES, 1)


def leak_replaced(world: World) -> None:
    """A pod that leaked until it was killed, and one of the same image since that does not."""
    replicaset, sizes = "api-6c5d8f7b9c", {"cpu_request": 1.0, "memory_request": GI, "memory_limit": GI}
    for pod, part, memory in (
        ("bcdfg", TIMES[:1400], np.linspace(300 * MI, 1020 * MI, 1400)),
        ("hjklm", TIMES[1400:], 300.0 * MI),
    ):
        world.use(f"{replicaset}-{pod}", "app", part, 0.2, memory)
        world.pod(f"{replicaset}-{pod}", ("ReplicaSet", replicaset), part, {"app": sizes})
    world.owned_by_deployment("api", replicaset, TIMES)
    world.add("kube_deployment_status_replicas", world.place(deployment="api"), TIMES, 1)
    killed = world.place(pod=f"{replicaset}-bcdfg", uid="uid-1", container="app", reason="OOMKilled")
    world.add("kube_pod_container_status_terminated_reason", killed, TIMES[1400:1460], 1)
