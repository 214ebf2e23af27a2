"""Two simulated Deployments that the demo changes: their cluster, their past, and who watches them."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import numpy as np
import yaml

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.config.loading import Config, FilesConfig
from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.enums import OptimizationType
from perfopt.metrics.snapshot import Array
from perfopt_api.apply.executor import open_cluster
from perfopt_api.backends import open_backends
from perfopt_api.demo.samples import SampleRequest
from perfopt_api.jobs.applying import applying_by
from perfopt_api.policy.settings import SECTION as POLICY
from perfopt_api.settings import service_settings
from perfopt_api.simulated.kubernetes.clock import CatchUpClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.kubelet import Delays
from perfopt_api.simulated.kubernetes.server import SimulatedServer
from perfopt_api.simulated.kubernetes.workload import Profile
from perfopt_api.simulated.source import PodRecorder, SimulatedSource
from perfopt_api.supervision import BackgroundTask, TaskSupervisor

SOURCE = "simulated-history"
"""Metric source of the two, for their analysis: a file."""
CLUSTER = "simulated-cluster"
"""Metric source whose cluster is changed."""
NAMESPACE = "trading"
OBSERVE_SECONDS = 30
"""How long a canary, and then all pods, are compared at most."""

_DAY = 86400
_DAYS = 14
_STEP = 300
_PAST_SECONDS = 900
_PODS = 6
_TOTAL = 12_000.0  # requests a second of a Deployment at its busiest hour
_PAST_CPU_SECONDS = 0.00025
_MIB = 2.0**20
_SIZES = {"requests": {"cpu": "1500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
_SEED = 7


@dataclass(frozen=True, slots=True)
class SimulatedService:
    """A Deployment of the simulated cluster.

    Attributes:
        name: of the Deployment.
        contended: other pods on its nodes take all the CPU that is not requested.
        cpu_seconds: of a request now; in its history it was _PAST_CPU_SECONDS.
    """

    name: str
    contended: bool
    cpu_seconds: float

    @property
    def service_name(self) -> str:
        """The name that it is analysed by."""
        return f"{NAMESPACE}/deployment/{self.name}"

    @property
    def request(self) -> SampleRequest:
        """What is asked about it."""
        types = (OptimizationType.RESOURCE_OPTIMIZATION,)
        return SampleRequest(source=SOURCE, service_name=self.service_name, types=types)

    def profile(self, busiest: float) -> Profile:
        """Returns how its pods behave; the load is highest at an instant, and at that hour of every day."""
        return Profile(
            requests_per_second=lambda now: float(_load(now - busiest)),
            cpu_seconds=self.cpu_seconds,
            idle_cores=0.05,
            memory_bytes=700 * _MIB,
            memory_per_request=_MIB / 4,
            error_ratio=0.0001,
            noise=0.02,
            contended=self.contended,
        )


GOOD = SimulatedService("order-router", contended=False, cpu_seconds=_PAST_CPU_SECONDS)
# A release of today made its requests dearer, which no history tells.
BAD = SimulatedService("market-data", contended=True, cpu_seconds=1.6 * _PAST_CPU_SECONDS)


class Simulation:
    """The simulated cluster with the two Deployments while it runs, and how they are analysed and changed.

    Attributes:
        server: the API server.
        recorder: of its pods' counters.
    """

    def __init__(self, server: SimulatedServer, recorder: PodRecorder, directory: Path) -> None:
        self.server = server
        self.recorder = recorder
        self._directory = directory

    def configured(self, config: Config) -> Config:
        """Returns a configuration with both sources, and a policy that lets changes be made.

        What a worker of its own would do is done by `working`, whose metric source is no Prometheus.
        """
        kubeconfig = KubernetesConfig(kubeconfig=str(self._directory / "kubeconfig"))
        sources = {
            SOURCE: FilesConfig(
                paths=str(self._directory / "history.parquet"),
                services=str(self._directory / "services.yaml"),
            ),
            CLUSTER: PrometheusConfig(url=self.server.url, kubernetes=kubeconfig),
        }
        minutes = OBSERVE_SECONDS / 60
        policy = {
            "apply": "manual",
            "cluster": CLUSTER,
            "take_over_from": ["kubectl"],
            "exchanges": [],
            "ramp_minutes": 0,
            "observe_minutes": minutes,
            "verify_minutes": minutes,
        }
        hours = _PAST_SECONDS / 3600
        verification = {"step_seconds": 1, "past_hours": hours, "past_days": hours / 24}
        service = config.sections.get("service", {}) | {"worker_class": "interactive"}
        sections = {POLICY: policy, "verification": verification, "service": service}
        return msgspec.structs.replace(
            config, sources=config.sources | sources, sections=config.sections | sections
        )

    @contextlib.asynccontextmanager
    async def working(self, config: Config) -> AsyncIterator[None]:
        """Makes changes while the context is open, as a worker does.

        Args:
            config: of `configured`, with the addresses of PostgreSQL and NATS.
        """
        settings = service_settings(config)
        source = SimulatedSource(CLUSTER, self.server, self.recorder)
        async with (
            open_cluster(config) as cluster,
            open_backends(settings, name="perfopt-demo", pool_size=6) as backends,
        ):
            runner = applying_by(config, cluster, source).runner(backends, settings, lambda: None)
            tasks = (_Recording(self.server, self.recorder), runner)
            async with TaskSupervisor(tasks).running():
                yield
                await runner.stop()


class _Recording(BackgroundTask):
    name = "recording"
    pause_seconds = 1.0

    def __init__(self, server: SimulatedServer, recorder: PodRecorder) -> None:
        self._server = server
        self._recorder = recorder

    async def round(self) -> None:
        await anyio.to_thread.run_sync(self._server.run, lambda _: self._recorder.record())


@contextlib.contextmanager
def simulation() -> Iterator[Simulation]:
    """Runs the simulated cluster while the context is open; it has a quarter of an hour of past."""
    clock = CatchUpClock(_PAST_SECONDS)
    cluster = SimulatedCluster(clock, ClusterOptions(delays=Delays(check=5.0)))
    recorder = PodRecorder(cluster)
    busiest = clock.now() + _PAST_SECONDS
    _furnish(cluster, busiest)
    cluster.advance(10, step=0.1)  # the pods start
    while clock.behind > 0:
        cluster.advance(1, step=1)
        recorder.record()
    clock.catch_up()
    with tempfile.TemporaryDirectory(prefix="perfopt-demo-") as name, SimulatedServer(cluster) as server:
        directory = Path(name)
        server.kubeconfig(directory / "kubeconfig")
        _write_history(directory, busiest)
        yield Simulation(server, recorder, directory)


def _furnish(cluster: SimulatedCluster, busiest: float) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.create("/api/v1/namespaces", space)
    for service in (GOOD, BAD):
        labels = {"app": service.name}
        cluster.workloads.behave(NAMESPACE, labels, service.profile(busiest))
        cluster.create(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", _deployment(service.name, labels))


def _deployment(name: str, labels: dict[str, str]) -> dict[str, Any]:
    container = {"name": "main", "image": f"registry.example/{name}:1", "resources": _SIZES}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": _PODS, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _load(since_busiest: Array | float) -> Array:
    """Returns requests a second of a Deployment: a day's swing between 15 % and all of its busiest hour."""
    return _TOTAL * (0.575 + 0.425 * np.cos(2 * np.pi * np.asarray(since_busiest) / _DAY))


def _write_history(directory: Path, busiest: float) -> None:
    """Writes two weeks of what the profiles' pods would have used, and their sizes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps: Array = np.arange(-_DAYS * _DAY // _STEP, 0, dtype=np.float64)
    times: Array = steps * _STEP + busiest // _STEP * _STEP
    rng, columns = np.random.default_rng(_SEED), []
    for service in (GOOD, BAD):
        profile = service.profile(busiest)
        requests = _load(times - busiest) / _PODS * (1 + 0.05 * rng.standard_normal(times.size))
        used = {
            "cpu_cores": profile.idle_cores + requests * _PAST_CPU_SECONDS,
            "memory_bytes": profile.memory_bytes + requests * profile.memory_per_request,
        }
        columns += [(service.service_name, metric, values) for metric, values in used.items()]
    table = {
        "series_id": np.repeat([name for name, _, _ in columns], times.size),
        "timestamp": pa.array(
            np.tile(times * 1000, len(columns)).astype(np.int64), pa.timestamp("ms", tz="UTC")
        ),
        "metric": np.repeat([metric for _, metric, _ in columns], times.size),
        "value": np.concatenate([values for _, _, values in columns]),
    }
    pq.write_table(pa.table(table), directory / "history.parquet")
    stated = {service.service_name: _SIZES | {"replicas": _PODS} for service in (GOOD, BAD)}
    (directory / "services.yaml").write_text(yaml.safe_dump({"services": stated}), encoding="utf-8")
