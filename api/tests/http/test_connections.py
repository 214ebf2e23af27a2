"""Idle, silent and slow connections on the real HTTP server cost others nothing and are closed in time."""

import asyncio
import contextlib
import time

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from perfopt_api.childserver import free_port
from perfopt_api.serving import http_server, serve_worker_health
from perfopt_api.supervision import TaskSupervisor

ANALYZE = "/api/v1/optimization/analyze"
HEADERS = b"Host: x\r\nContent-Type: application/json\r\n"
IDLE = 300


@pytest.fixture
def settings(settings):
    return msgspec.structs.replace(settings, body_seconds=1.0, header_seconds=1.0)


@pytest.fixture
async def port(world, settings):
    port = free_port()
    async with http_server(world.app, "127.0.0.1", port, settings):
        yield port


@contextlib.asynccontextmanager
async def connections(port, count, first=b""):
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(count)))
    for _, writer in opened:
        writer.write(first)
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def test_connections_that_say_nothing_hold_up_nobody(port):
    half = b"POST " + ANALYZE.encode() + b" HTTP/1.1\r\n" + HEADERS + b'Content-Length: 99\r\n\r\n{"service'
    async with connections(port, IDLE), connections(port, 50, half), httpx.AsyncClient() as client:
        began = time.monotonic()
        assert (await client.get(f"http://127.0.0.1:{port}/health/live")).status_code == 200
        assert time.monotonic() - began < 5  # a tenth of a second on a machine that does nothing else
        body = {"service_name": "vm-1"}
        assert (await client.post(f"http://127.0.0.1:{port}{ANALYZE}", json=body)).status_code == 202


@pytest.mark.parametrize(
    "first", [b"", b"GET /health/live HT", b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_a_connection_that_sends_no_request_is_closed(port, first):
    async with connections(port, 1, first) as [reader], asyncio.timeout(10):
        while await reader.read(1000):
            pass


async def test_a_body_that_does_not_come_is_a_408(port):
    half = b"POST " + ANALYZE.encode() + b" HTTP/1.1\r\n" + HEADERS + b'Content-Length: 99\r\n\r\n{"service'
    async with connections(port, 1, half) as [reader], asyncio.timeout(10):
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"/problems/request_timeout" in answer
    assert b"did not arrive within 1 s" in answer


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_fault_of_the_service(port):
    half = b"POST " + ANALYZE.encode() + b" HTTP/1.1\r\n" + HEADERS + b'Content-Length: 99\r\n\r\n{"service'
    with capture_logs() as logs:
        async with connections(port, 1, half):
            pass
        async with asyncio.timeout(10):
            while not logs:
                await asyncio.sleep(0.01)
    assert [(entry["event"], entry["status"]) for entry in logs] == [("request", 408)]


async def test_a_worker_shows_its_health_and_which_task_fails(settings):
    class Failing(TaskSupervisor):
        failing = {"relay": "PostgreSQL is away."}

    async def ping():
        return None

    port = free_port()
    wanted = msgspec.structs.replace(settings, worker_port=port)
    async with (
        serve_worker_health(wanted, {"nats": ping}, TaskSupervisor(())),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).json()["checks"] == {"nats": "ok"}
        assert "perfopt_background_failing" in (await client.get("/metrics")).text
    async with (
        serve_worker_health(wanted, {"nats": ping}, Failing(())),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["errors"] == [{"field": "relay", "message": "PostgreSQL is away."}]
