"""Gives every request an id and one line in the log: what was asked, what came of it, how long it took."""

import re
import time
import uuid
from collections.abc import Iterable
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from perfopt_api.tracing import HEADER as TRACEPARENT
from perfopt_api.tracing import span

HEADER = b"x-request-id"
HEADER_OF_TRACES = TRACEPARENT.encode()
ARRIVED = "perfopt_arrived"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_PRIVATE = (b"cache-control", b"no-store")
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

        method, path = scope["method"], scope["path"]

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*_secured(message["headers"], path), (HEADER, request_id.encode())]
            await send(message)

        parent = _header(scope, HEADER_OF_TRACES) or None
        traced = span(
            method, kind="server", parent=parent, **{"http.request.method": method, "url.path": path}
        )
        with structlog.contextvars.bound_contextvars(request_id=request_id), traced as current:
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                _name(current, scope, status)
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


def _secured(headers: Iterable[tuple[bytes, bytes]], path: str) -> list[tuple[bytes, bytes]]:
    """Returns the headers with those that keep browsers and proxies from misusing an answer."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    required = [*_SECURITY, *([_PRIVATE] if path.startswith(("/api/", "/ui")) else [])]
    return [*given, *(header for header in required if header[0] not in names)]


def _name(current: Any, scope: Any, status: int) -> None:
    """Names the span of a request by its route, which is known once it was found."""
    if current is not None:
        current.update_name(f"{scope['method']} {scope.get('path_template') or 'unknown'}")
        current.set_attribute("http.response.status_code", status)


def _header(scope: Any, searched: bytes) -> str:
    header = next((value for name, value in scope["headers"] if name.lower() == searched), b"")
    return str(header.decode("latin-1"))


def _request_id(scope: Any) -> str:
    given = _header(scope, HEADER)
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex
