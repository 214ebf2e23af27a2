"""The cluster that the tests' Prometheus saw: three workloads whose use is that of three real VMs.

payments (Deployment): VM 237. Replaced by a new pod with a new image on day 8; a container restart by the OOM
killer on day 3; a native sidecar and an init container; an HPA; OpenTelemetry metrics.
ledger (StatefulSet): VM 333. Its CPU counter is reset on day 5 under the same labels; a VPA;
http_requests_total.
agent (DaemonSet): VM 338. Limits only; Istio metrics.
An HA pair of Prometheus servers scraped all of it, and OpenCost's prices of two nodes.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kubernetes_exposition import (
    STEP,
    ContainerRun,
    PodRun,
    Scraper,
    add_http_requests_total,
    add_istio,
    add_opentelemetry,
)
from prometheus_server import Exposition

SAMPLE = Path(__file__).parents[2] / "core/tests/data" / "bitbrains_three_vms.parquet"
DAY = 86400
START = 1372636800.0  # 2013-07-01T00:00Z
SIZE = 15 * DAY // STEP
TIMES = START + STEP * np.arange(SIZE, dtype=np.float64)
OOM_AT = START + 3 * DAY + 1000
REPLACED = 8 * DAY // STEP
RESET_AT = START + 5 * DAY + 130
OLD_POD, NEW_POD = "payments-7d9f8c6b5d-abcde", "payments-5c9d7f4b66-xk2jp"


def vm(number: int, metric: str):
    """Returns a VM's metric on the 15-day grid, NaN where the trace has no sample."""
    table = pq.read_table(SAMPLE)
    mine = pc.and_(
        pc.equal(table["series_id"].cast(pa.string()), pa.scalar(f"bitbrains-rnd/vm{number}")),
        pc.equal(table["metric"].cast(pa.string()), pa.scalar(metric)),
    )
    rows = table.filter(mine)
    seconds = rows["timestamp"].cast(pa.int64()).to_numpy() / 1000
    values = np.full(SIZE, np.nan)
    values[((seconds - START) // STEP).astype(int)] = rows["value"].to_numpy()
    return values


def _run(number, begin=0, end=SIZE, name="main", **more):
    cpu, memory = vm(number, "cpu_cores")[begin:end], vm(number, "memory_bytes")[begin:end]
    return ContainerRun(name, TIMES[begin:end], cpu, memory, **more)


def _flat(name, begin, end, cpu, memory, **more):
    size = end - begin
    return ContainerRun(name, TIMES[begin:end], np.full(size, cpu), np.full(size, memory), **more)


def build_cluster(path: Path) -> Exposition:
    """Returns everything that the pair of Prometheus servers scraped, written to a file."""
    exposition = Exposition(path)
    scraper = Scraper(exposition, replicas=("prometheus-0", "prometheus-1"), scrape_seconds=100)
    _payments(scraper)
    _ledger(scraper)
    _agent(scraper)
    _nodes(scraper)
    return exposition


def _nodes(scraper):
    """Adds two nodes of one type as kube-state-metrics and OpenCost show them, one of them spot."""
    last = START + SIZE * STEP
    for node, cpu_price, spot in (("node-1", 0.03, 0), ("node-2", 0.01, 1)):
        for resource, amount in (("cpu", 4), ("memory", 16 * 2**30), ("pods", 110)):
            what = {"node": node, "resource": resource, "unit": "x"}
            scraper.constant("kube_node_status_capacity", what, START, last, amount)
        labels = {"node": node, "instance_type": "m.xlarge", "region": "r", "provider_id": node}
        scraper.constant("node_cpu_hourly_cost", labels, START, last, cpu_price)
        scraper.constant("node_ram_hourly_cost", labels, START, last, cpu_price / 10)
        scraper.constant("kubecost_node_is_spot", labels, START, last, spot)


def _payments(scraper):
    resources = {"cpu_request": 1.0, "memory_request": 2**31, "cpu_limit": 2.0, "memory_limit": 2**33}
    generations = (
        (0, REPLACED, "payments-7d9f8c6b5d", OLD_POD, "registry/payments:v1", (OOM_AT,)),
        (REPLACED, SIZE, "payments-5c9d7f4b66", NEW_POD, "registry/payments:v2", ()),
    )
    place = {"namespace": "trading"}
    for begin, end, replicaset, name, image, oom in generations:
        main = _run(237, begin, end, image=image, restarts=oom, oom_at=oom, throttled=0.2, **resources)
        sidecar = _flat(
            "istio-proxy", begin, end, 0.05, 5e7, cpu_request=0.1, memory_request=2**27, sidecar=True
        )
        scraper.pod(PodRun("trading", name, "ReplicaSet", replicaset, [main, sidecar], TIMES[begin]))
        first, last = TIMES[begin], TIMES[end - 1] + STEP
        init = place | {"pod": name, "container": "migrate", "image": "registry/migrate:v1"}
        scraper.constant("kube_pod_init_container_info", init, first, last)
        cpu = {"resource": "cpu", "unit": "core", "node": "node-1"}
        scraper.constant("kube_pod_init_container_resource_requests", init | cpu, first, last, 8.0)
        owner = {"owner_kind": "Deployment", "owner_name": "payments", "owner_is_controller": "true"}
        scraper.constant("kube_replicaset_owner", place | {"replicaset": replicaset} | owner, first, last)
        labels = place | {"pod": name, "container": "main", "job": "payments", "instance": "10.0.1.1:8080"}
        add_opentelemetry(scraper, labels, np.arange(first, last, 145.0), rate=20.0, failed=0.1)
    deployment = place | {"deployment": "payments"}
    scraper.constant("kube_deployment_status_replicas", deployment, START, TIMES[-1] + STEP, 1)
    named = {"label_app_kubernetes_io_name": "payment_service", "label_team": "core"}
    scraper.constant("kube_deployment_labels", deployment | named, START, TIMES[-1] + STEP)
    _hpa(scraper, "keda-hpa-payments")


def _hpa(scraper, name):
    hpa, end = {"namespace": "trading", "horizontalpodautoscaler": name}, TIMES[-1] + STEP
    target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": "payments"}
    scraper.constant("kube_horizontalpodautoscaler_info", hpa | target, START, end)
    scraper.constant("kube_horizontalpodautoscaler_spec_min_replicas", hpa, START, end, 1)
    scraper.constant("kube_horizontalpodautoscaler_spec_max_replicas", hpa, START, end, 6)
    for metric, how, value in (("cpu", "utilization", 70), ("queue_length", "average", 10)):
        labels = hpa | {"metric_name": metric, "metric_target_type": how}
        scraper.constant("kube_horizontalpodautoscaler_spec_target_metric", labels, START, end, value)


def _ledger(scraper):
    run = _run(333, cpu_request=0.5, memory_request=2**30, resets=(RESET_AT,))
    scraper.pod(PodRun("trading", "ledger-0", "StatefulSet", "ledger", [run], START))
    place, end = {"namespace": "trading", "statefulset": "ledger"}, TIMES[-1] + STEP
    scraper.constant("kube_statefulset_status_replicas", place, START, end, 1)
    target = {"target_kind": "StatefulSet", "target_name": "ledger", "verticalpodautoscaler": "ledger"}
    for mode, value in (("Auto", 1), ("Off", 0)):
        name = "kube_customresource_verticalpodautoscaler_spec_updatepolicy_updatemode"
        scraper.constant(name, {"namespace": "trading", "update_mode": mode} | target, START, end, value)
    labels = {"namespace": "trading", "pod": "ledger-0", "job": "ledger"}
    add_http_requests_total(scraper, labels, np.arange(START, end, 145.0), rate=5.0)


def _agent(scraper):
    run = _run(338, cpu_limit=2.0, memory_limit=2**31)
    scraper.pod(PodRun("ops", "agent-x7x2p", "DaemonSet", "agent", [run], START))
    place, end = {"namespace": "ops", "daemonset": "agent"}, TIMES[-1] + STEP
    scraper.constant("kube_daemonset_status_current_number_scheduled", place, START, end, 1)
    add_istio(scraper, "ops", "agent", np.arange(START, end, 145.0), rate=3.0, failed=0.25)
