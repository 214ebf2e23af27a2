"""Gates over HTTP: open by 2xx alone, closed where nobody answers, and asked at their points."""

import json

import httpx
import pytest
from apply_driver import ApplyRun, change_of, order_of
from memory_cluster import MemoryCluster

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.http_gates import HttpGates
from perfopt_api.policy.hooks import GateHook

APPLIED, FAILED, ROLLED_BACK = (
    OptimizationStatus.APPLIED,
    OptimizationStatus.FAILED,
    OptimizationStatus.ROLLED_BACK,
)


class Receiver:
    """What a gate answers, one after the other, the last for ever; and what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.headers = []

    async def __call__(self, request):
        self.asked.append(json.loads(request.content))
        self.headers.append(request.headers)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def gates(self, *points, retries=2, **fields):
        hook = GateHook(url="http://gate.example/", points=points, retries=retries, **fields)
        return HttpGates({"board": hook}, httpx.MockTransport(self))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("perfopt.sources.retry._full_jitter", lambda attempt: 0.0)


@pytest.fixture
def cluster():
    return MemoryCluster()


def order(cluster):
    return order_of(change_of(cluster.add()))


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_a_gate_is_open_where_it_answers_2xx(status):
    receiver = Receiver(httpx.Response(status))
    assert await receiver.gates("confirm", token="s3cret").closed("confirm", {"workload": "w"}) is None
    assert receiver.asked == [{"gate": "board", "point": "confirm", "workload": "w"}]
    assert receiver.headers[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [302, 400, 403, 409])
async def test_any_other_answer_closes_it_with_its_own_reason_and_is_not_repeated(status):
    receiver = Receiver(httpx.Response(status, json={"reason": "Quarter end."}))
    closed = await receiver.gates("confirm").closed("confirm", {})
    assert closed.rule == "hooks.gates.board"
    assert closed.reason == f"The gate board is closed (HTTP {status}): Quarter end."
    assert len(receiver.asked) == 1


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503)]
)
async def test_a_gate_that_cannot_be_reached_is_asked_again_and_then_closed(failure):
    receiver = Receiver(failure)
    closed = await receiver.gates("confirm").closed("confirm", {})
    assert "cannot be reached, and is closed" in closed.reason
    assert "Tried 3 times" in closed.reason
    assert len(receiver.asked) == 3
    back = Receiver(failure, httpx.Response(200))
    assert await back.gates("confirm").closed("confirm", {}) is None


async def test_other_points_are_not_asked():
    receiver = Receiver(httpx.Response(403))
    gates = receiver.gates("post")
    assert await gates.closed("confirm", {}) is None
    assert await gates.asks_for_rollback({}) is None
    assert receiver.asked == []


async def test_confirm_holds_a_change_back_until_it_is_open(cluster):
    receiver = Receiver(httpx.Response(403), httpx.Response(403), httpx.Response(200))
    run = ApplyRun(cluster, order(cluster), hooks=receiver.gates("confirm"))
    assert await run.finish() is APPLIED
    assert run.codes.count("deferred") == 1
    assert len(run.waits) == 2
    asked = receiver.asked[0]
    assert asked["after"]["containers.app.cpu_request"] == "600m"
    assert asked["before"]["containers.app.cpu_request"] == "1"


async def test_pre_refuses_before_anything_is_changed(cluster):
    run = ApplyRun(cluster, order(cluster), hooks=Receiver(httpx.Response(403)).gates("pre"))
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "gate_closed"
    assert "resized" not in run.codes


async def test_post_takes_back_what_was_verified(cluster):
    receiver = Receiver(httpx.Response(500))
    run = ApplyRun(cluster, order(cluster), hooks=receiver.gates("post", retries=0))
    assert await run.finish() is ROLLED_BACK
    assert run.now_at.failure.code == "gate_closed"
    assert receiver.asked[0]["verification"] == "It is passed."


async def test_rollback_takes_back_where_it_is_open_and_only_there(cluster):
    asked = ApplyRun(cluster, order(cluster), hooks=Receiver(httpx.Response(200)).gates("rollback"))
    assert await asked.finish() is ROLLED_BACK
    assert asked.now_at.failure.code == "rollback_gate"
    away = Receiver(httpx.ConnectError("refused"))
    other = ApplyRun(cluster, order_of(change_of(cluster.add("web"))), hooks=away.gates("rollback"))
    assert await other.finish() is APPLIED
