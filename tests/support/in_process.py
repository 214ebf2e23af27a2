"""Carries a client's requests to an application in the same process."""

from typing import Any

import httpx


class InProcess(httpx.BaseTransport):
    """Carries requests to an application in this process."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Has the application answer; see the base class."""
        response: httpx.Response = self.api._transport.handle_request(request)
        return response
