"""Events are posted to hooks, again until they are taken, by one of the workers."""

import httpx
import msgspec
import pytest

from perfopt.domain.event import OptimizationRolledBack
from perfopt_api.events.message import JobEvent, job_message
from perfopt_api.events.nats import NatsConnection, ensure_stream, event_stream
from perfopt_api.jobs.notifications import Notifier, text_of
from perfopt_api.policy.hooks import NotificationHook

STREAM = "OPTIMIZATION"
EVENT = OptimizationRolledBack(
    event_id="d3865efe-82da-4800-be06-f9ea77a8682d",
    timestamp="2026-11-30T12:00:00.000Z",
    job_id="job-1",
    service_name="web",
    optimization_type="RESOURCE_OPTIMIZATION",
    workload="shop/deployment/web",
    recommendation_ids=["opt_20261130_001"],
    code="verification_failed",
    reason="Harm is shown.",
)


class Receiver:
    """Answers by statuses, one after the other, the last for ever."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.requests = []

    async def __call__(self, request):
        self.requests.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return httpx.Response(status)


@pytest.fixture
async def connection(nats_url):
    opened = await NatsConnection.connect(nats_url, name="test", within=5)
    await ensure_stream(opened, event_stream(STREAM, 1))
    yield opened
    await opened.close()


@pytest.fixture
def publish(connection):
    async def send(event: JobEvent):
        message = job_message(event, "https://perfopt.example")
        await connection.jetstream.publish(message.subject, message.payload, headers=message.headers)

    return send


@pytest.fixture
def notifier(connection):
    def build(receiver, **fields):
        hook = NotificationHook(url="http://hook.example/", **fields)
        return Notifier("oncall", hook, connection, STREAM, httpx.MockTransport(receiver))

    return build


async def rounds(notifier, receiver, count, publish=None):
    """Works until the receiver was asked so often."""
    for _ in range(20):
        await notifier.round()
        if len(receiver.requests) >= count:
            return


async def test_a_webhook_gets_the_event_as_it_is_on_nats(notifier, publish):
    receiver = Receiver(200)
    task = notifier(receiver, token="s3cret")
    await task.round()  # listens from here on
    await publish(EVENT)
    await rounds(task, receiver, 1)
    (request,) = receiver.requests
    assert msgspec.json.decode(request.content)["workload"] == "shop/deployment/web"
    assert request.headers["ce-type"] == "optimization_rolled_back"
    assert request.headers["authorization"] == "Bearer s3cret"
    await task.round()
    assert len(receiver.requests) == 1  # taken is taken


async def test_what_is_not_taken_is_posted_again(notifier, publish):
    receiver = Receiver(503, 200)
    task = notifier(receiver)
    await task.round()
    await publish(EVENT)
    await rounds(task, receiver, 2)
    assert len(receiver.requests) == 2
    await task.round()
    assert len(receiver.requests) == 2


async def test_it_is_given_up_after_its_attempts(notifier, publish):
    receiver = Receiver(500)
    task = notifier(receiver, attempts=2)
    await task.round()
    await publish(EVENT)
    await rounds(task, receiver, 2)
    await task.round()
    await task.round()
    assert len(receiver.requests) == 2


async def test_two_workers_post_it_once(notifier, publish):
    receiver = Receiver(200)
    tasks = [notifier(receiver), notifier(receiver)]
    for task in tasks:
        await task.round()
    await publish(EVENT)
    for task in tasks:
        await task.round()
    assert len(receiver.requests) == 1


async def test_events_that_are_not_asked_for_are_left_out(notifier, publish):
    receiver = Receiver(200)
    task = notifier(receiver, events=("applied",))
    await task.round()
    await publish(EVENT)
    await task.round()
    assert receiver.requests == []


async def test_slack_gets_one_line(notifier, publish):
    receiver = Receiver(200)
    task = notifier(receiver, format="slack")
    await task.round()
    await publish(EVENT)
    await rounds(task, receiver, 1)
    assert msgspec.json.decode(receiver.requests[0].content) == {
        "text": "perfopt: rolled back: shop/deployment/web | Harm is shown."
        " | https://perfopt.example/api/v1/optimization/jobs/job-1"
    }


def test_a_status_says_itself():
    body = b'{"status": "FAILED", "service_name": "web", "error": {"message": "Gone."}}'
    assert text_of("optimization_job_status_changed", body) == "perfopt: FAILED: web | Gone."
