"""The state machine on a Kubernetes API: simulated time, real requests, the generated role."""

import re

import pytest
from apply_driver import ApplyRun, ScriptedVerifier, change_of, order_of
from simulated_objects import DEPLOYMENTS, deployment
from stepped_cluster import stepped_cluster

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.cluster import WorkloadTarget
from perfopt_api.simulated.kubernetes.faults import Fault

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
OLD, NEW = "100m", "60m"


@pytest.fixture
def cluster(tmp_path, service_account):
    with stepped_cluster(tmp_path, service_account) as stepped:
        stepped.server.run(lambda simulated: simulated.create(DEPLOYMENTS, deployment(replicas=4)))
        stepped.advance(1200)
        yield stepped


def smaller(**fields):
    return order_of(change_of(TARGET, cpu_request=NEW, memory_request="120Mi"), force=True, **fields)


async def requests(cluster):
    view = await cluster.read(TARGET)
    return view.fields["containers.app.cpu_request"], {pod.actuated["app"].cpu_request for pod in view.pods}


async def test_good_change_goes_through_a_canary_to_all_pods(cluster):
    run = ApplyRun(cluster, smaller())
    assert await run.finish() is OptimizationStatus.APPLIED, run.now_at.failure
    cluster.advance(60)
    assert await requests(cluster) == (NEW, {NEW})


async def test_harmful_canary_goes_back_and_the_template_was_never_touched(cluster):
    run = ApplyRun(cluster, smaller(), ScriptedVerifier(verdict="failed"))
    assert await run.finish() is OptimizationStatus.ROLLED_BACK, run.now_at.failure
    cluster.advance(60)
    assert await requests(cluster) == (OLD, {OLD})
    assert (await cluster.read(TARGET)).generation == 1


async def test_harm_after_the_rollout_restores_template_and_owner(cluster):
    run = ApplyRun(cluster, smaller(mode="direct"), ScriptedVerifier(verdict="failed"))
    assert await run.finish() is OptimizationStatus.ROLLED_BACK, run.now_at.failure
    cluster.advance(60)
    assert await requests(cluster) == (OLD, {OLD})
    restored = next(entry for entry in run.entries if entry.code == "restored")
    assert "kubectl patch deployment checkout" in restored.commands[0]
    assert '"cpu":"100m"' in restored.commands[0]
    owners = (await cluster.read(TARGET)).field_managers["containers.app.cpu_request"]
    assert owners == ("kubectl",)


@pytest.mark.parametrize("status", [403, 410, 422])
async def test_a_read_that_is_refused_while_it_is_watched_takes_nothing_back(cluster, status):
    run = ApplyRun(cluster, smaller(), ScriptedVerifier(after=120))

    def refuse(_):
        if run.now_at.step == "observe" and "change_refused" not in run.codes:
            listing = Fault("status", lambda request: "disruptionbudgets" in request.path, status=status)
            cluster.server.faults.add(listing)

    assert await run.finish(before_each=refuse) is OptimizationStatus.APPLIED, run.now_at.failure
    assert "change_refused" in run.codes


async def test_a_refused_read_before_the_first_write_ends_it(cluster):
    cluster.server.faults.add(Fault("status", lambda request: "limitranges" in request.path, status=403))
    run = ApplyRun(cluster, smaller())
    assert await run.finish() is OptimizationStatus.FAILED
    assert run.now_at.failure.code == "change_refused"
    assert await requests(cluster) == (OLD, {OLD})


async def test_a_review_of_rights_is_asked_again_where_the_server_fails_once(cluster):
    cluster.server.faults.add(Fault("status", lambda request: "accessreviews" in request.path, status=500))
    assert await ApplyRun(cluster, smaller()).finish() is OptimizationStatus.APPLIED


FAULTS = ({"kind": "status", "status": 500}, {"kind": "drop_after"}, {"kind": "status", "status": 429})


def call_of(request):
    """What a request is, whichever pod it is of."""
    return request.method, re.sub("/pods/[^/?]+", "/pods/any", request.path.partition("?")[0])


async def ended_with(fault, directory, service_account):
    """How a change ends that runs into a fault, and the sizes that it leaves."""
    with stepped_cluster(directory, service_account) as cluster:
        cluster.server.run(lambda simulated: simulated.create(DEPLOYMENTS, deployment(replicas=3)))
        cluster.advance(1200)
        cluster.server.faults.add(fault)
        status = await ApplyRun(cluster, smaller()).finish()
        cluster.advance(120)
        return status, await requests(cluster)


def about(call):
    """Returns whether a request is such a call."""
    return lambda request: call_of(request) == call


async def test_a_fault_at_any_call_ends_with_the_cluster_in_the_matching_state(tmp_path, service_account):
    calls = {}

    def noted(request):
        calls[call_of(request)] = True
        return False

    undisturbed = await ended_with(Fault("status", noted), tmp_path, service_account)
    assert undisturbed == (OptimizationStatus.APPLIED, (NEW, {NEW}))
    assert len(calls) > 10
    for number, call in enumerate(calls):
        fault = Fault(about=about(call), **FAULTS[number % 3])
        status, sizes = await ended_with(fault, tmp_path, service_account)
        size = NEW if status is OptimizationStatus.APPLIED else OLD
        assert sizes == (size, {size}), (call, fault, status)
        assert fault.times == 0
