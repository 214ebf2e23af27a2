"""The Kubernetes API: lists, read page by page, bounded and retried. Knows nothing of workloads."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import urllib3
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_loader

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.errors import InvalidInputError, SourceError, SourceUnavailableError
from perfopt.sources.kubernetes.objects import ListPage, ListStatus
from perfopt.sources.retry import RetryPolicy

_RETRIED = {429, 500, 502, 503, 504}
_EXPIRED = 410
_LISTINGS = 3  # a list whose pages expired is begun again so often
_GUIDE = "docs/how-to/read-a-cluster.md has the role it needs."


class KubernetesClient:
    """A blocking client for one API server.

    Attributes:
        address: of the server, for messages.
    """

    def __init__(self, config: KubernetesConfig, *, sleep: Callable[[float], object] = time.sleep) -> None:
        """Reads the service account or the kubeconfig; asks the server nothing yet.

        Raises:
            InvalidInputError: there is neither, or what there is cannot be used.
        """
        settings = api_settings(config)
        settings.retries = False  # its own are neither bounded in time nor reported
        self._api = kubernetes_client.ApiClient(settings)
        self._config = config
        self._sleep = sleep
        self.address: str = settings.host

    def objects[Item](self, path: str, kind: type[Item], *, optional: bool = False) -> list[Item]:
        """Returns all objects of a collection.

        Args:
            path: of the collection, such as /apis/apps/v1/deployments.
            kind: what its items are decoded as.
            optional: whether a server without such a collection has none of it.

        Raises:
            SourceError: the server refused, or answered nonsense.
            SourceUnavailableError: it did not answer, after retries.
        """
        for _ in range(_LISTINGS):
            items = self._pages(path, kind, optional=optional)
            if items is not None:
                return items
        raise SourceUnavailableError(
            f"{self.address} gave up {_LISTINGS} lists of {path} half-way (410 Expired).",
            field="kubernetes",
            remedy="Raise `page_size`, or name `namespaces`.",
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._api.rest_client.pool_manager.clear()

    def _pages[Item](self, path: str, kind: type[Item], *, optional: bool) -> list[Item] | None:
        """Returns the items of all pages; None where the server forgot the list before its end."""
        items: list[Item] = []
        further = ""
        while True:
            status, body = self._get(path, further)
            if status == _EXPIRED and further:
                return None
            if status == 404 and optional:
                return []
            if status != 200:
                raise self._refusal(path, status, body)
            page = self._decoded(path, body, kind)
            items += page.items or ()
            further = page.metadata.continue_
            if not further:
                return items

    def _decoded[Item](self, path: str, body: bytes, kind: type[Item]) -> ListPage[Item]:
        try:
            return msgspec.json.decode(body, type=ListPage[kind])  # type: ignore[valid-type]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SourceError(
                f"{self.address} answered {path} with what is no list of Kubernetes ({error}).",
                field="kubernetes",
                remedy="Check that the kubeconfig names an API server, and no proxy's page.",
            ) from error

    def _get(self, path: str, further: str) -> tuple[int, bytes]:
        """Asks for one page until it is answered or the attempts are used up."""
        retries = RetryPolicy(self._config.retries)
        while True:
            after = None
            try:
                status, headers, body = self._attempt(path, further)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                failure = _failure(error, self._config.timeout_seconds)
            else:
                if status not in _RETRIED:
                    return status, body
                failure, after = f"HTTP {status}", headers.get("Retry-After")
            wait = retries.wait_after(failure, after)
            if wait is None:
                raise SourceUnavailableError(
                    f"{self.address} did not answer {path}: {retries.summary()}",
                    field="kubernetes",
                    remedy="Check that it can be reached from here, or leave `kubernetes` out of the source.",
                )
            self._sleep(wait)

    def _attempt(self, path: str, further: str) -> tuple[int, Any, bytes]:
        query = [("limit", str(self._config.page_size)), *([("continue", further)] if further else [])]
        request = self._api.param_serialize(
            "GET",
            path,
            query_params=query,
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        timeout = self._config.timeout_seconds
        answer = self._api.call_api(*request, _request_timeout=(timeout, timeout))
        return answer.status, answer.headers, answer.read()  # type: ignore[no-untyped-call]

    def _refusal(self, path: str, status: int, body: bytes) -> SourceError:
        reason = _message(body)
        if status == 401:
            what, remedy = "refused the credentials", "Renew them, or check `kubeconfig` and `context`."
        elif status == 403:
            what, remedy = f"does not let these credentials list {path}", _GUIDE
        else:
            what, remedy = f"failed to list {path}", "Look into its log."
        text = f"{self.address} {what} (HTTP {status}{f': {reason}' if reason else ''})."
        return SourceError(text, field="kubernetes", remedy=remedy)


def api_settings(config: KubernetesConfig) -> Any:
    """Reads how to reach and authenticate to an API server: the service account, else a kubeconfig.

    Returns:
        A `kubernetes.client.Configuration`.

    Raises:
        InvalidInputError: there is neither, or what there is cannot be used.
    """
    settings = kubernetes_client.Configuration()
    try:
        if config.kubeconfig is None and config.context is None:
            try:
                kubernetes_loader.load_incluster_config(settings)  # type: ignore[no-untyped-call]
                return settings
            except kubernetes_loader.ConfigException:
                pass  # not in a cluster: the kubeconfig it is
        kubernetes_loader.load_kube_config(  # type: ignore[no-untyped-call]
            config.kubeconfig, config.context, client_configuration=settings, persist_config=False
        )
    except (kubernetes_loader.ConfigException, OSError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"there is no way to reach a cluster: {str(error).rstrip('.')}.",
            field="kubeconfig",
            remedy="Name a kubeconfig and a context that it has, or run within the cluster.",
        ) from error
    return settings


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=ListStatus).message[:400]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _failure(error: Exception, timeout_seconds: float) -> str:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # urllib3 has it among the timeouts
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return f"no answer within {timeout_seconds:g} s"
    return type(error).__name__ if not str(error) else str(error).split(": ", 1)[-1][:200]
