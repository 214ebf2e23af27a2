"""Requests to a Kubernetes API, off the event loop, bounded in time, retried where nothing was done yet."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3
from kubernetes import client as kubernetes_client

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.sources.kubernetes.client import api_settings
from perfopt.sources.retry import RetryPolicy
from perfopt_api.apply.cluster import FIELD_MANAGER
from perfopt_api.apply.kubernetes.access import Call
from perfopt_api.apply.refusals import ClusterUnavailableError, ReadRefusedError, WorkloadGoneError

Json = dict[str, Any]

_BUSY = (429, 503)  # the server says that it did nothing
_READ_AGAIN = (500, 502, 504)
_LISTS_AGAIN = 3
_CONNECTIONS = 64  # that are kept open: each change holds two for its watches
_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """An answer that is an error: its status, and the `Status` object.

    Attributes:
        reason: such as Conflict; "" where the server gives none.
        causes: of the details.
        reads: the request would have changed nothing.
    """

    def __init__(self, code: int, body: Json, *, reads: bool = False) -> None:
        self.code, self.body, self.reads = code, body, reads
        self.message = str(body.get("message", ""))
        self.reason = str(body.get("reason", ""))
        self.causes: list[Json] = (body.get("details") or {}).get("causes", [])
        super().__init__(self.message)

    def has_cause(self, reason: str) -> bool:
        """Whether a cause has a reason."""
        return any(cause.get("reason") == reason for cause in self.causes)


class KubernetesRequests:
    """Makes calls of the table of calls.

    Attributes:
        address: of the server, for messages.
    """

    def __init__(self, config: KubernetesConfig) -> None:
        """Reads the service account or the kubeconfig; asks the server nothing yet.

        Raises:
            InvalidInputError: there is neither, or what there is cannot be used.
        """
        settings = api_settings(config)
        settings.retries = False
        settings.connection_pool_maxsize = _CONNECTIONS
        self._api = kubernetes_client.ApiClient(settings)
        self._config = config
        self.address: str = settings.host

    async def get(self, call: Call, namespace: str = "", name: str = "") -> Json:
        """Reads an object, or an object's subresource.

        Raises:
            WorkloadGoneError: it is not there.
            ClusterUnavailableError: the server did not answer.
            ApiError: it refused.
        """
        return await self.send("GET", call.path(namespace, name))

    async def items(
        self, call: Call, namespace: str = "", *, labels: str = "", optional: bool = False
    ) -> list[Json]:
        """Lists objects, all pages; of a resource that the server does not have, none where `optional`.

        A list whose next page has expired begins again, a few times.
        """
        items: list[Json] = []
        again = _LISTS_AGAIN
        query = {"limit": str(self._config.page_size)} | ({"labelSelector": labels} if labels else {})
        while True:
            try:
                page = await self.send("GET", call.path(namespace), query)
            except WorkloadGoneError as error:
                if optional:
                    return []
                raise ReadRefusedError(f"The server has no list {call.path(namespace)}.") from error
            except ApiError as error:
                if error.code != 410 or "continue" not in query or not again:
                    raise
                items, again = [], again - 1
                del query["continue"]
                continue
            items += page.get("items") or []
            further = page["metadata"].get("continue")
            if not further:
                return items
            query["continue"] = further

    async def patch(
        self, call: Call, namespace: str, name: str, kind: str, body: Any, *, dry_run: bool = False,
        force: bool = False, manager: str = FIELD_MANAGER,
    ) -> Json:  # fmt: skip
        """Patches an object; `kind` is json, merge, strategic or apply."""
        query = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        query |= {"force": "true"} if force and kind == "apply" else {}
        return await self.send("PATCH", call.path(namespace, name), query, body, _TYPES[kind])

    async def create(self, path: str, body: Json, *, dry_run: bool = False) -> Json:
        """Posts an object."""
        return await self.send("POST", path, {"dryRun": "All"} if dry_run else {}, body)

    async def delete(self, call: Call, namespace: str, name: str, uid: str) -> None:
        """Deletes an object, if it is the one that was meant."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self.send("DELETE", call.path(namespace, name), {}, body)

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        """Sends a request until it is answered or the attempts are used up."""
        retries = RetryPolicy(self._config.retries)
        while True:
            after = None
            try:
                status, headers, answer = await asyncio.to_thread(
                    self._attempt, method, path, dict(query or {}), body, content_type
                )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                begun = not isinstance(error, urllib3.exceptions.NewConnectionError)
                if begun and not _reads(method, path):
                    raise self._silent(path, str(error)[:200]) from error
                failure = str(error)[:200]
            else:
                if status < 300:
                    return answer
                if not _again(status, answer, reads=_reads(method, path)):
                    raise self._error(status, answer, path, reads=_reads(method, path))
                failure, after = f"HTTP {status}", headers.get("Retry-After")
            wait = retries.wait_after(failure, after)
            if wait is None:
                raise self._silent(path, retries.summary())
            await asyncio.sleep(wait)

    def watch(self, path: str, query: Mapping[str, str], seconds: int) -> "EventStream":
        """Opens a watch; blocking, for a thread."""
        request = self._request(
            "GET", path, dict(query) | {"watch": "true", "timeoutSeconds": str(seconds)}, None, ""
        )
        answer = self._api.call_api(*request, _request_timeout=(self._config.timeout_seconds, seconds + 30.0))
        return EventStream(answer.response)

    def close(self) -> None:
        """Gives the connections back."""
        self._api.rest_client.pool_manager.clear()

    def _attempt(
        self, method: str, path: str, query: dict[str, str], body: Any, content_type: str
    ) -> tuple[int, Any, Json]:
        timeout = self._config.timeout_seconds
        request = self._request(method, path, query, body, content_type)
        answer = self._api.call_api(*request, _request_timeout=(timeout, timeout))
        raw = answer.read()  # type: ignore[no-untyped-call]
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = {"message": raw.decode(errors="replace")[:400]}
        return answer.status, answer.headers, parsed

    def _request(
        self, method: str, path: str, query: dict[str, str], body: Any, content_type: str
    ) -> tuple[Any, Any, Any, Any, Any]:
        headers = {"Accept": "application/json"} | (
            {"Content-Type": content_type} if body is not None else {}
        )
        if body is not None and "yaml" in content_type:
            body = json.dumps(body)  # JSON is YAML
        return self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )

    def _silent(self, path: str, summary: str) -> ClusterUnavailableError:
        return ClusterUnavailableError(
            f"{self.address} did not answer {path}: {summary}",
            remedy="Check that the Kubernetes API can be reached from the worker.",
        )

    def _error(self, status: int, body: Json, path: str, *, reads: bool) -> Exception:
        if status == 404:
            return WorkloadGoneError(f"{body.get('message') or path} (HTTP 404).")
        return ApiError(status, body, reads=reads)


def _reads(method: str, path: str) -> bool:
    """Whether a request changes nothing; who asks for its rights does so by a POST."""
    return method == "GET" or path.endswith("accessreviews")


def _again(status: int, body: Json, *, reads: bool) -> bool:
    """Whether to repeat a request: what the server did not begin, and reads."""
    causes = (body.get("details") or {}).get("causes", [])
    if status == 429 and any(cause.get("reason") == "DisruptionBudget" for cause in causes):
        return False
    return status in _BUSY or (reads and status in _READ_AGAIN)


class EventStream:
    """The events of a watch, as they come."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __iter__(self) -> Iterator[Json]:
        rest = b""
        for chunk in self._response.stream(2**16, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield json.loads(line)

    def interrupt(self) -> None:
        """Ends a read that waits in another thread. To close would wait for that read instead."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has ended already
            self._response.shutdown()

    def close(self) -> None:
        """Gives the connection back; only for the thread that reads."""
        self._response.close()
