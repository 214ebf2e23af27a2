"""Gives every request an id and one line in the log: what was asked, what came of it, how long it took."""

import re
import time
import uuid
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
ARRIVED = "perfopt_arrived"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health/", "/metrics")
_log = structlog.get_logger("perfopt_api.http")


class RequestLog:
    """ASGI wrapper around the whole application, so that unknown paths are logged as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started, status = time.perf_counter(), 0
        scope.setdefault("state", {})[ARRIVED] = started

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                _write(scope, status, time.perf_counter() - started)


def seconds_since_arrival(scope: Any) -> float:
    """Returns for how long a request has been worked on, by its ASGI scope."""
    return time.perf_counter() - float(scope["state"][ARRIVED])


def _write(scope: Any, status: int, seconds: float) -> None:
    path = scope["path"]
    write = _log.debug if path.startswith(_QUIET) and status < 500 else _log.info
    write(
        "request",
        method=scope["method"],
        path=path,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        requester=scope.get("user"),
    )


def _request_id(scope: Any) -> str:
    given = next((value for name, value in scope["headers"] if name.lower() == HEADER), b"").decode("latin-1")
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex
