"""Bounds how long a request body may take to arrive, so that slow senders hold nothing for long."""

import asyncio
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from perfopt.errors import PerfoptError


class RequestTimeoutError(PerfoptError):
    """The body did not arrive in time. HTTP 408."""

    code = "request_timeout"


class ClientLeftError(RequestTimeoutError):
    """The client closed the connection before its body was complete: nobody reads the answer."""


class BodyTimeout:
    """ASGI wrapper: reading the whole body takes at most so long.

    Args:
        app: reads the body.
        seconds: from the request's headers to the end of its body.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == ScopeType.HTTP:
            receive = self._timed(receive)
        await self._app(scope, receive, send)

    def _timed(self, receive: Receive) -> Receive:
        deadline = asyncio.get_running_loop().time() + self._seconds
        complete = False

        async def timed() -> Any:
            nonlocal complete
            if complete:
                return await receive()  # waits for the client to leave, which may take for ever
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                complete = True
                raise RequestTimeoutError(
                    f"The body did not arrive within {self._seconds:g} s.", remedy="Send it at once."
                ) from error
            if message["type"] == "http.disconnect":
                raise ClientLeftError("The client left before its body was complete.")
            complete = not message.get("more_body", False)
            return message

        return timed
