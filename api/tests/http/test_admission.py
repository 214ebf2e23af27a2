"""What could not be answered in time is refused at its arrival, by what requests take on this machine."""

import asyncio
import json

import httpx
import pytest

from perfopt_api.childserver import free_port
from perfopt_api.http.admission import (
    MAX_AT_WORK,
    MIN_AT_WORK,
    START_AT_WORK,
    TARGET_SECONDS,
    Admission,
    ArrivalLimit,
    Place,
    not_at_work,
)
from perfopt_api.serving import http_server

ANALYZE = "/api/v1/optimization/analyze"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limit(clock):
    return ArrivalLimit(clock)


def at_once(limit, clock):
    """How many places there are: takes all of them, then leaves them without telling a time."""
    places = []
    while not limit.full:
        places.append(Place(limit, clock))
    for place in places:
        place.leave()
    return len(places)


def work(limit, clock, seconds, rounds=100):
    """Each round takes all places, and every request is at work for so long."""
    for _ in range(rounds):
        places = []
        while not limit.full:
            places.append(Place(limit, clock))
        clock.now += seconds
        for place in places:
            place.end()


def test_a_slow_machine_takes_fewer_and_a_fast_one_more(limit, clock):
    assert at_once(limit, clock) == START_AT_WORK
    work(limit, clock, 4 * TARGET_SECONDS)
    assert at_once(limit, clock) == MIN_AT_WORK
    work(limit, clock, TARGET_SECONDS / 10)
    assert at_once(limit, clock) == MAX_AT_WORK


def test_what_takes_half_to_the_whole_of_the_target_changes_nothing(limit, clock):
    work(limit, clock, 0.7 * TARGET_SECONDS)
    settled = at_once(limit, clock)
    work(limit, clock, 0.7 * TARGET_SECONDS)
    work(limit, clock, 0.99 * TARGET_SECONDS)
    assert at_once(limit, clock) == settled


def test_one_slow_request_among_many_changes_nothing(limit, clock):
    work(limit, clock, 0.3 * TARGET_SECONDS)
    before = at_once(limit, clock)
    slow = Place(limit, clock)
    clock.now += 3 * TARGET_SECONDS
    slow.end()
    assert at_once(limit, clock) == before


def test_who_is_refused_comes_back_when_those_at_work_are_done(limit, clock):
    assert limit.retry_after_seconds == 1
    work(limit, clock, 3.0)
    assert limit.retry_after_seconds == 6


def test_a_wait_for_a_job_takes_no_place_and_does_not_count_as_slow(limit, clock):
    for _ in range(3 * START_AT_WORK):
        place = Place(limit, clock)
        with not_at_work({"state": {"perfopt_place": place}}):
            assert limit.at_work == 0
            clock.now += 60.0
        assert limit.at_work == 1
        place.end()
    assert limit.at_work == 0
    assert limit.retry_after_seconds == 1


async def answer(app, path):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "path": path, "headers": []}, receive, send)
    return sent


async def test_health_is_answered_when_all_else_is_refused(limit, clock):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    held = [Place(limit, clock) for _ in range(START_AT_WORK)]
    admission = Admission(app, limit)
    for path, status in (("/health/live", 200), ("/metrics", 200), ("/api/v1/jobs", 429)):
        assert (await answer(admission, path))[0]["status"] == status
    held[0].end()
    assert (await answer(admission, "/api/v1/jobs"))[0]["status"] == 200
    assert limit.at_work == len(held) - 1


async def test_a_place_is_free_again_when_the_application_fails(limit):
    async def app(scope, receive, send):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await answer(Admission(app, limit), "/x")
    assert limit.at_work == 0


async def test_a_body_that_takes_long_to_arrive_holds_no_place(limit):
    arrived, waiting = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        assert limit.at_work == 1
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        waiting.set()
        await arrived.wait()
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        assert limit.at_work == 0  # the rest of an answer may take long, as the stream of a timeline does

    scope = {"type": "http", "path": "/x", "headers": []}
    asked = asyncio.create_task(Admission(app, limit)(scope, receive, send))
    async with asyncio.timeout(5):
        await waiting.wait()
        assert limit.at_work == 1
        while limit.at_work:
            await asyncio.sleep(0.01)
        arrived.set()
        await asked


async def test_a_refusal_is_a_problem_document_and_the_connection_goes_on(world, settings, monkeypatch):
    full = True
    monkeypatch.setattr(ArrivalLimit, "full", property(lambda _: full))
    port = free_port()
    async with (
        http_server(world.app, "127.0.0.1", port, settings),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        refused = await client.post(ANALYZE, json={"service_name": "vm-1"})
        full = False
        accepted = await client.post(ANALYZE, json={"service_name": "vm-1"})
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["X-Request-Id"]
    problem = json.loads(refused.content)
    assert problem["type"] == "/problems/overloaded"
    assert problem["instance"] == ANALYZE
    assert "Retry-After" in problem["detail"]
    assert accepted.status_code == 202
