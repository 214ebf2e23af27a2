"""A client of the REST API for the commands: answers as plain values, problems as perfopt's own errors."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from perfopt.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PerfoptError,
    UnavailableError,
)
from perfopt_api.http.links import PREFIX

DEFAULT_SERVER = "http://127.0.0.1:8080"
_TIMEOUT_SECONDS = 30.0
_KINDS: Mapping[int, type[PerfoptError]] = {
    400: InvalidInputError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidInputError,
    503: UnavailableError,
}


class ServiceClient:
    """Asks one service.

    Args:
        server: its address, `http://host:port`.
        token: sent as `Authorization: Bearer`; None where the service asks for none.
        transport: carries the requests; None for the network.

    Raises:
        InvalidInputError: the address is none.
    """

    def __init__(
        self, server: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        if not server.startswith(("http://", "https://")):
            raise InvalidInputError(
                f"{server!r} is no address of a service.",
                field="server",
                remedy=f"Write it as {DEFAULT_SERVER}.",
            )
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._server = server.rstrip("/")
        self._http = httpx.Client(
            base_url=self._server + PREFIX, headers=headers, timeout=_TIMEOUT_SECONDS, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **parameters: str | int | None) -> Any:
        """Returns what a path holds; parameters that are None are left out.

        Raises:
            PerfoptError: what the service answered, or that it did not.
        """
        return self._sent("GET", path, params={k: v for k, v in parameters.items() if v is not None})

    def post(self, path: str, **body: Any) -> Any:
        """Posts a body to a path; fields that are None are left out. Raises what get() does."""
        return self._sent("POST", path, json={k: v for k, v in body.items() if v is not None})

    def delete(self, path: str) -> Any:
        """Deletes what a path holds and returns it. Raises what get() does."""
        return self._sent("DELETE", path)

    def followed(self, path: str, after: int = 0) -> Iterator[Any]:
        """Gives the entries of a path as they are made, until the service ends. Raises what get() does."""
        accept = {"Accept": "text/event-stream"}
        waiting = httpx.Timeout(_TIMEOUT_SECONDS, read=None)
        try:
            with self._http.stream(
                "GET", path, params={"after": after}, headers=accept, timeout=waiting
            ) as answer:
                if answer.is_error:
                    answer.read()
                    raise _problem(answer)
                for line in answer.iter_lines():
                    if line.startswith("data:"):
                        yield msgspec.json.decode(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _sent(self, method: str, path: str, **what: Any) -> Any:
        try:
            answer = self._http.request(method, path, **what)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _problem(answer)
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise UnavailableError(
                f"{self._server} answered something that is not JSON.",
                remedy="Give the address of a perfopt service.",
            ) from error

    def _unreachable(self, error: httpx.HTTPError) -> UnavailableError:
        return UnavailableError(
            f"{self._server} does not answer: {str(error) or type(error).__name__}.",
            remedy="Give the address of the service by --server or PERFOPT_SERVER.",
        )


def _problem(answer: httpx.Response) -> PerfoptError:
    """Returns a problem document as an error; what is none is shown as it came."""
    try:
        body = msgspec.json.decode(answer.content)
        detail, errors = str(body["detail"]), body.get("errors") or []
    except (msgspec.DecodeError, KeyError, TypeError):
        return UnavailableError(f"The service answered {answer.status_code} {answer.reason_phrase}.")
    if answer.status_code == 401:
        return InvalidInputError(detail, field="token", remedy="Set PERFOPT_TOKEN or give --token-file.")
    if answer.status_code == 403:
        return InvalidInputError(detail, field="token")
    kind = _KINDS.get(answer.status_code, UnavailableError)
    only = errors[0] if len(errors) == 1 else {}
    return kind(only.get("message", detail), field=only.get("field"), remedy=only.get("remedy"))
