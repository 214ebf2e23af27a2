"""Worker processes that are killed at every step of a change, on real servers and a simulated cluster."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgspec
import nats
from apply_driver import change_of, order_of
from killed_worker import WorkerOrder
from simulated_objects import DEPLOYMENTS, deployment
from sqlalchemy import select

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.domain.enums import OptimizationType
from perfopt_api.apply.cluster import FIELD_MANAGER, WorkloadTarget
from perfopt_api.apply.git import GitOrder
from perfopt_api.apply.kubernetes.cluster import KubernetesCluster
from perfopt_api.apply.state import ApplyOrder, ApplyState, Step
from perfopt_api.settings import ServiceSettings
from perfopt_api.simulated.kubernetes.clock import CatchUpClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.kubelet import Delays
from perfopt_api.simulated.kubernetes.server import SimulatedServer
from perfopt_api.store.apply_port import NewApply
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.apply_tables import applies
from perfopt_api.store.database import Database
from perfopt_api.store.tables import jobs, outbox

STEPS = tuple(step.replace("_", "-") for step in get_args(Step) if step != "ended")
NAMES = tuple(f"{step}-{when}" for step in STEPS for when in ("before", "after"))
OLD, HALF, NEW = "100m", "80m", "60m"
WORKERS = 2
SCRIPT = Path(__file__).with_name("killed_worker.py")


@dataclass
class KillsOutcome:
    """What came of the jobs.

    Attributes:
        killed: workloads at whose step a process was killed.
        statuses: by workload, of its job.
        requests: by workload, the CPU requests of template and pods, and whether we own the template's.
        written: events of the outbox, by workload.
        missing, doubled: of those, in the stream.
        codes: by workload, of its timeline.
        seconds: until all had ended.
    """

    killed: set[str] = field(default_factory=set)
    statuses: dict[str, str] = field(default_factory=dict)
    requests: dict[str, tuple[str, set[str], bool]] = field(default_factory=dict)
    written: dict[str, Counter[str]] = field(default_factory=dict)
    missing: int = 0
    doubled: int = 0
    codes: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def is_right(self, name: str) -> bool:
        """Returns whether a workload is as its job has to leave it."""
        return self.statuses.get(name) == expected_status(name) and self.requests[name] == wanted(name)


def wanted(name: str) -> tuple[str, set[str], bool]:
    """Returns what template and pods have to request at the end, and whether the template's is ours."""
    if name.startswith("rollback"):
        return OLD, {OLD}, False
    if name.startswith("publish"):  # committed to Git: the template is left to it
        return OLD, {NEW}, False
    return NEW, {NEW}, True


def expected_status(name: str) -> str:
    """Returns how the job of a workload has to end."""
    return "ROLLED_BACK" if name.startswith("rollback") else "APPLIED"


async def survive_kills(settings: ServiceSettings, root: Path, within: float = 120.0) -> KillsOutcome:
    """Changes a workload for each step and side of it, kills a worker there, and has others go on."""
    repository = bare_repository(root)
    marks = root / "marks"
    marks.mkdir()
    settings = msgspec.structs.replace(settings, log_level="error")
    with shop(root) as kubeconfig:
        order = WorkerOrder(settings, str(kubeconfig), str(marks), str(repository))
        database = Database(settings.database_url, pool_size=2)
        try:
            requests = PostgresApplyRequests(database)
            ids = {name: await ordered(requests, name) for name in NAMES}
            began = time.monotonic()
            async with replaced_workers(order):
                await all_ended(database, requests, ids, within)
                outcome = KillsOutcome(killed={mark.name for mark in marks.iterdir()})
                outcome.seconds = time.monotonic() - began
                await events(database, settings, outcome, ids)
            await look(database, requests, kubeconfig, outcome, ids)
        finally:
            await database.close()
    return outcome


def bare_repository(root: Path) -> Path:
    """Makes a Git repository with one commit on main."""
    bare, work = root / "origin.git", root / "first"
    author = ("-c", "user.name=ann", "-c", "user.email=ann@example")
    for words, cwd in (
        (("init", "-q", "--bare", "-b", "main", str(bare)), root),
        (("clone", "-q", str(bare), str(work)), root),
        ((*author, "commit", "-q", "--allow-empty", "-m", "Begin"), work),
        (("push", "-q", "origin", "HEAD:main"), work),
    ):
        subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True)
    return bare


@contextlib.contextmanager
def shop(root: Path) -> Iterator[Path]:
    """Serves a cluster with a Deployment for each kill; gives its kubeconfig."""
    clock = CatchUpClock(3600)
    delays = Delays(ready=0.1, resize=0.3, check=30.0)
    cluster = SimulatedCluster(clock, ClusterOptions(delays=delays, metrics_api=False))
    cluster.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    )
    for name in NAMES:
        cluster.create(DEPLOYMENTS, deployment(name, replicas=2))
    cluster.advance(60, step=1)
    clock.catch_up()
    with SimulatedServer(cluster) as server:
        yield server.kubeconfig(root / "kubeconfig")


def target_of(name: str) -> WorkloadTarget:
    """Returns the Deployment of a kill."""
    return WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name=name)


def change_order(name: str) -> ApplyOrder:
    """Returns what is done to a workload: in two stages where a next one is needed; some go to Git."""
    transient = name.startswith("publish")
    stages = tuple(
        change_of(
            target_of(name),
            durability="transient" if transient else "template",
            cpu_request=size,
            memory_request="120Mi",
        )
        for size in ((HALF, NEW) if name.startswith("next-stage") else (NEW,))
    )
    files = {"patch.yaml": f"cpu: {NEW}\n"}
    git = GitOrder(repository="deploy", branch=f"perfopt/{name}", title="Apply", body="", files=files)
    return order_of(*stages, force=True, git=git if transient else None)


async def ordered(requests: PostgresApplyRequests, name: str) -> str:
    """Asks for the change of a workload; returns the job."""
    target = target_of(name)
    new = NewApply(
        parent_job_id="parent",
        service_name=name,
        optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
        recommendation_ids=(f"opt_{name}",),
        order=msgspec.to_builtins(change_order(name)),
        state=msgspec.to_builtins(ApplyState()),
        step="preflight",
        workload=target.key,
        namespace=target.namespace,
        requester="ann",
    )
    return (await requests.create_apply(new)).job.job_id


@contextlib.asynccontextmanager
async def replaced_workers(order: WorkerOrder) -> AsyncIterator[None]:
    """Runs worker processes, and another in the place of each that is killed."""
    command = [sys.executable, str(SCRIPT), msgspec.json.encode(order).decode()]
    paths = os.pathsep.join((str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths, "GIT_TERMINAL_PROMPT": "0"},
    ) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None
        living: set[int] = set()

        async def replace() -> None:
            while True:
                living.difference_update([pid for pid in living if is_dead(pid)])
                while len(living) < WORKERS:
                    forking.stdin.write(b"\n")  # type: ignore[union-attr]  # it is piped
                    forking.stdin.flush()  # type: ignore[union-attr]
                    living.add(int(await asyncio.to_thread(forking.stdout.readline)))  # type: ignore[union-attr]
                await asyncio.sleep(0.05)

        replacing = asyncio.create_task(replace())
        try:
            yield
        finally:
            replacing.cancel()
            await asyncio.gather(replacing, return_exceptions=True)
            for pid in living:  # those killed before are zombies until the script ends
                os.kill(pid, signal.SIGKILL)
            forking.stdin.close()


def is_dead(pid: int) -> bool:
    """Returns whether a process has ended; one that nobody has waited for is still listed."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].startswith("Z")


async def all_ended(
    database: Database, requests: PostgresApplyRequests, ids: dict[str, str], within: float
) -> None:
    """Waits until no job is under way, and approves what is held."""
    deadline = time.monotonic() + within
    query = (
        select(jobs.c.job_id, applies.c.step)
        .join(applies, applies.c.job_id == jobs.c.job_id)
        .where(jobs.c.status == "APPLYING")
    )
    approved: set[str] = set()
    while True:
        async with database.transaction() as connection:
            running = {row.job_id: row.step for row in (await connection.execute(query)).all()}
        if not running:
            return
        late = {name: running[one] for name, one in ids.items() if one in running}
        assert time.monotonic() < deadline, late
        for job_id, step in running.items():
            if step == "held" and job_id not in approved:
                await requests.approve(job_id, principal="bob", reason=None)
                approved.add(job_id)
        await asyncio.sleep(0.1)


async def events(
    database: Database, settings: ServiceSettings, outcome: KillsOutcome, ids: dict[str, str]
) -> None:
    """Compares the outbox with the stream, once all events went out."""
    deadline = time.monotonic() + 30
    while True:
        async with database.transaction() as connection:
            rows = (await connection.execute(select(outbox))).all()
        if all(row.published_at is not None for row in rows) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    names = {job_id: name for name, job_id in ids.items()}
    for row in rows:
        name = names[row.headers["ce-subject"]]
        outcome.written.setdefault(name, Counter())[row.headers["ce-type"]] += 1
    client = await nats.connect(settings.nats_url)
    stream = client.jetstream()
    state = (await stream.stream_info(settings.event_stream)).state
    found = [await stream.get_msg(settings.event_stream, at) for at in range(1, state.last_seq + 1)]
    await client.close()
    sent = Counter((message.headers or {}).get("Nats-Msg-Id", "") for message in found)
    outcome.missing = len({str(row.event_id) for row in rows} - sent.keys())
    outcome.doubled = sum(count - 1 for count in sent.values())


async def look(
    database: Database,
    requests: PostgresApplyRequests,
    kubeconfig: Path,
    outcome: KillsOutcome,
    ids: dict[str, str],
) -> None:
    """Reads how the jobs ended, and what is in the cluster."""
    async with database.transaction() as connection:
        rows = (await connection.execute(select(jobs.c.job_id, jobs.c.status))).all()
    statuses = {row.job_id: row.status for row in rows}
    cluster = KubernetesCluster(KubernetesConfig(kubeconfig=str(kubeconfig)))
    path = "containers.app.cpu_request"
    for name, job_id in ids.items():
        outcome.statuses[name] = statuses[job_id]
        outcome.codes[name] = [entry.code for entry in await requests.timeline(job_id) or ()]
        view = await cluster.read(target_of(name))
        sizes = {str(pod.actuated["app"].cpu_request) for pod in view.pods if not pod.deleting}
        ours = FIELD_MANAGER in view.field_managers.get(path, ())
        outcome.requests[name] = (view.fields[path], sizes, ours)
    cluster.close()
