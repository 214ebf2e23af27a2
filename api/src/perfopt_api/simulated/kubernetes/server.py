"""The simulated cluster on a loopback port: HTTP/1.1 with keep-alive, chunked watches, faults and metrics."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perfopt_api.simulated.kubernetes import exposition
from perfopt_api.simulated.kubernetes.access import ADMIN_TOKEN
from perfopt_api.simulated.kubernetes.cluster import SimulatedCluster
from perfopt_api.simulated.kubernetes.faults import Fault, Faults
from perfopt_api.simulated.kubernetes.http import Request, Response, Stream
from perfopt_api.simulated.kubernetes.status import Json

_TICK_SECONDS = 0.01
_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 409: "Conflict"}
_LARGEST_BODY = 3 * 2**20
_LARGEST_HEAD = 64 * 2**10


class SimulatedServer:
    """Serves a cluster from a thread of its own, and moves it on with its clock.

    Attributes:
        cluster: only to be touched through `run` while the server is up.
        faults: to come.
        url: where it listens.
    """

    def __init__(self, cluster: SimulatedCluster | None = None) -> None:
        self.cluster = cluster or SimulatedCluster()
        self.faults = Faults()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="simulated-kubernetes", daemon=True)
        self._up = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run[Result](self, task: Callable[[SimulatedCluster], Result]) -> Result:
        """Does something with the cluster in the server's thread, and returns what it returns."""

        async def do() -> Result:
            return task(self.cluster)

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def kubeconfig(self, path: Path, token: str = ADMIN_TOKEN) -> Path:
        """Writes a kubeconfig (JSON is YAML) for a token; returns its path."""
        path.write_text(json.dumps(kubeconfig(self.url, token)), encoding="utf-8")
        return path

    # -- the thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._start())
        ticking = self._loop.create_task(self._tick())
        self._up.set()
        self._loop.run_forever()
        server.close()
        for task in (ticking, *self._connections):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(ticking, *self._connections, return_exceptions=True))
        self._loop.close()

    async def _start(self) -> asyncio.Server:
        self.cluster.store.listeners.append(lambda _: self._changed.set())
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_LARGEST_HEAD)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.cluster.api.address = f"127.0.0.1:{port}"
        return server

    async def _tick(self) -> None:
        while True:
            self.cluster.step()
            await asyncio.sleep(_TICK_SECONDS)

    # -- connections ----------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; returns whether the connection goes on."""
        request = await _read(reader)
        if request is None:
            return False
        fault = self.faults.next(request, watch=False)
        if fault is not None and fault.kind == "drop":
            return False
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "status":
            writer.write(_failure(fault))
            await writer.drain()
            return True
        answer = self._metrics(request) or self.cluster.handle(request)
        if fault is not None and fault.kind == "drop_after":
            return False
        if answer.stream is not None:
            await self._watch(writer, request, answer)
            return False
        writer.write(_whole(answer))
        await writer.drain()
        return "close" not in request.headers.get("connection", "")

    def _metrics(self, request: Request) -> Response | None:
        writes = exposition.PAGES.get(request.path)
        return None if writes is None else Response(200, text=writes(self.cluster))

    async def _watch(self, writer: asyncio.StreamWriter, request: Request, answer: Response) -> None:
        stream = answer.stream
        assert stream is not None
        fault = self.faults.next(request, watch=True)
        ends_at = None if fault is None else self._loop.time() + fault.seconds
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        while await self._send_events(writer, stream):
            if ends_at is not None and self._loop.time() >= ends_at:
                writer.transport.abort()
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _send_events(self, writer: asyncio.StreamWriter, stream: Stream) -> bool:
        now = self.cluster.clock.now()
        for event in stream.poll(now):
            line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        await writer.drain()
        return not stream.done(now) and not writer.transport.is_closing()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ", 2)
    headers = dict(_header(line) for line in head[1:] if line)
    size = min(int(headers.get("content-length", "0")), _LARGEST_BODY)
    body = await reader.readexactly(size) if size else b""
    return Request.of(method, target, headers, body)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _whole(answer: Response) -> bytes:
    if answer.text is not None:
        body, kind = answer.text.encode(), "text/plain; charset=utf-8"
    else:
        body, kind = json.dumps(answer.body, separators=(",", ":")).encode(), "application/json"
    return _bytes(answer.status, (*answer.headers, ("Content-Type", kind)), body)


def _bytes(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in (*headers, ("Content-Length", str(len(body))))]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _failure(fault: Fault) -> bytes:
    reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "simulated fault",
        "reason": reasons.get(fault.status, "InternalError"),
        "code": fault.status,
    }
    after = () if fault.retry_after is None else (("Retry-After", str(fault.retry_after)),)
    return _bytes(fault.status, (*after, ("Content-Type", "application/json")), json.dumps(body).encode())


def kubeconfig(url: str, token: str) -> Json:
    """A kubeconfig for a server and a token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "simulated",
        "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "user"}}],
        "clusters": [{"name": "simulated", "cluster": {"server": url}}],
        "users": [{"name": "user", "user": {"token": token}}],
    }
