"""The Prometheus HTTP API: bounded, retried, typed. Knows nothing of workloads."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Literal

import httpx

from perfopt.config.prometheus import PrometheusConfig, resolve_secret
from perfopt.domain.job import SourceUsage
from perfopt.errors import InvalidInputError, QueryTooLargeError, SourceError, SourceUnavailableError
from perfopt.sources.prometheus.answer import (
    DecodedAnswer,
    InstantSample,
    RangeSeries,
    decode_label,
    decode_matrix,
    decode_series,
    decode_vector,
)
from perfopt.sources.prometheus.errors import is_timed_out, refusal
from perfopt.sources.retry import RetryPolicy
from perfopt.sources.usage import count_usage

MAX_POINTS = 11_000
"""Prometheus answers no range query with more points a series."""

_RETRIED = {429, 502, 503, 504}
_LARGE = 1 << 20
_UNREACHABLE = "Check that it is up and reachable from here; if it is slow, raise `timeout_seconds`."
type Method = Literal["GET", "POST"]


class PrometheusClient:
    """One HTTP client for one server.

    Attributes:
        queries: requests sent so far, attempts not counted twice.
        notes: annotations of the server about our PromQL (not about missing data), in order of arrival.
    """

    def __init__(
        self,
        config: PrometheusConfig,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._config = config.checked()
        self._sleep = sleep
        self._base = config.address
        self._limit = config.max_response_mib << 20
        self._slots = asyncio.Semaphore(config.concurrency)
        self._http = _http_client(config, transport)
        self._answered = False
        self.queries = 0
        self.notes: dict[str, None] = {}

    async def query(self, promql: str, at: datetime) -> list[InstantSample]:
        """Evaluates an expression at one instant; the answer is one sample a series.

        Raises:
            SourceError: the server refused the query, or answered nonsense or too much.
            SourceUnavailableError: it did not answer, after retries.
        """
        return await self._ask("query", {"query": promql, "time": _seconds(at)}, decode_vector, promql)

    async def query_range(
        self, promql: str, first: datetime, last: datetime, step_seconds: int
    ) -> list[RangeSeries]:
        """Evaluates an expression at first, first + step, ... last; split below 11,000 points a query.

        A series that several parts hold comes back in one piece. Raises what query() does.
        """
        points = int((last - first).total_seconds()) // step_seconds + 1
        begins = [first.timestamp() + i * step_seconds for i in range(0, points, MAX_POINTS)]
        parts = await asyncio.gather(
            *(
                self._ask(
                    "query_range",
                    {
                        "query": promql,
                        "start": f"{begin:.3f}",
                        "end": f"{min(begin + (MAX_POINTS - 1) * step_seconds, last.timestamp()):.3f}",
                        "step": str(step_seconds),
                    },
                    decode_matrix,
                    promql,
                )
                for begin in begins
            )
        )
        return parts[0] if len(parts) == 1 else _joined(parts)

    async def series(self, selector: str, start: datetime, end: datetime) -> list[dict[str, str]]:
        """Returns the label sets that a selector matched at any time in a period.

        The server answers by blocks, so series from shortly outside the period may be among them.
        Raises what query() does.
        """
        form = {"match[]": selector, "start": _seconds(start), "end": _seconds(end)}
        return await self._ask("series", form, decode_series, selector)

    async def metric_names(
        self, start: datetime, end: datetime, matchers: Sequence[str] = ()
    ) -> frozenset[str] | None:
        """Returns the names of metrics with samples in a period; None where the server lists none.

        Raises:
            SourceUnavailableError: it did not answer, after retries.
        """
        form = {"start": _seconds(start), "end": _seconds(end)}
        if matchers:
            form["match[]"] = f"{{{','.join(matchers)}}}"
        try:
            return frozenset(await self._ask("label/__name__/values", form, decode_label, "", method="GET"))
        except SourceUnavailableError:
            raise
        except SourceError:  # a proxy may let queries pass only
            return None

    async def label_names(self, start: datetime, end: datetime) -> frozenset[str]:
        """Returns the names of labels in a period; nothing where the server does not list them.

        Raises:
            SourceUnavailableError: it did not answer, after retries.
        """
        form = {"start": _seconds(start), "end": _seconds(end)}
        try:
            return frozenset(await self._ask("labels", form, decode_label, "", method="GET"))
        except SourceUnavailableError:
            raise
        except SourceError:  # a proxy may let queries pass only
            return frozenset()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _ask[Data](
        self,
        endpoint: str,
        form: Mapping[str, str],
        decode: Callable[[bytes, str], DecodedAnswer[Data]],
        query: str,
        *,
        method: Method = "POST",
    ) -> Data:
        self.queries += 1
        began = time.monotonic()
        body = await self._send(method, endpoint, form, query)
        seconds = time.monotonic() - began
        if len(body) > _LARGE:
            answer = await asyncio.to_thread(decode, body, self._base)
        else:
            answer = decode(body, self._base)
        self.notes.update(dict.fromkeys(answer.notes))
        samples = _samples(answer.data)
        count_usage(SourceUsage(queries=1, samples=samples, bytes=len(body), seconds=seconds))
        return answer.data

    async def _send(self, method: Method, endpoint: str, form: Mapping[str, str], query: str) -> bytes:
        """Sends one request until it is answered, refused, or the attempts are used up."""
        url = f"{self._config.url.rstrip('/')}/api/v1/{endpoint}"
        # A server that has answered is having an outage; one that never did may not be there at all.
        retries = RetryPolicy(self._config.retries, self._config.retry_seconds if self._answered else 0.0)
        while True:
            after = None
            try:
                async with self._slots:
                    status, headers, body = await self._attempt(method, url, form)
            except httpx.TransportError as error:
                _require_trust(error, self._base)
                failure = _transport_failure(error, self._config.timeout_seconds)
            else:
                kind = headers.get("content-type", "")
                if status == 200 and "html" not in kind:
                    self._answered = True
                    return body
                if status not in _RETRIED or (status == 503 and is_timed_out(body)):
                    raise refusal(self._base, status, kind, body, query)
                failure, after = f"HTTP {status}", headers.get("retry-after")
            wait = retries.wait_after(failure, after)
            if wait is None:
                raise SourceUnavailableError(
                    f"{self._base} did not answer: {retries.summary()}",
                    field="source",
                    remedy=_UNREACHABLE,
                )
            await self._sleep(wait)

    async def _attempt(
        self, method: Method, url: str, form: Mapping[str, str]
    ) -> tuple[int, httpx.Headers, bytes]:
        params, data = (dict(form), None) if method == "GET" else (None, dict(form))
        async with self._http.stream(method, url, params=params, data=data) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._limit:
                    raise QueryTooLargeError(
                        f"{self._base} answered with more than {self._config.max_response_mib} MiB.",
                        field="max_response_mib",
                        remedy="Ask for a shorter period, lower `workloads_per_query`, or raise "
                        "`max_response_mib` of the source.",
                    )
            return response.status_code, response.headers, bytes(body)


class _BearerAuth(httpx.Auth):
    """Looks the token up at each request: Kubernetes rotates the tokens it mounts."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        resolve_secret(reference, "bearer_token")  # a wrong one is reported at once

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {resolve_secret(self._reference, 'bearer_token')}"
        yield request


def _http_client(config: PrometheusConfig, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    # Compressing costs the server four times what evaluating does; `headers` may ask for gzip on a slow line.
    headers = {"Accept-Encoding": "identity"}
    headers |= {name: resolve_secret(value, f"headers.{name}") for name, value in config.headers.items()}
    auth: httpx.Auth | None = None
    if config.bearer_token:
        auth = _BearerAuth(config.bearer_token)
    elif config.username:
        password = resolve_secret(config.password or "", "password")
        auth = httpx.BasicAuth(resolve_secret(config.username, "username"), password)
    return httpx.AsyncClient(
        headers=headers,
        auth=auth,
        timeout=config.timeout_seconds,
        verify=_tls(config),
        transport=transport,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=config.concurrency),
    )


def _tls(config: PrometheusConfig) -> ssl.SSLContext | bool:
    if config.insecure_skip_verify and config.client_cert_file is not None:
        raise InvalidInputError(
            "A client certificate is not shown to a server that is not verified.",
            field="insecure_skip_verify",
            remedy="Set ca_file instead.",
        )
    if config.insecure_skip_verify:
        return False
    if config.ca_file is None and config.client_cert_file is None:
        return not config.url.lower().startswith("http://")  # authorities are read from disk: not for nothing
    name, field = config.ca_file, "ca_file"
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.client_cert_file is not None:
            name, field = config.client_cert_file, "client_cert_file"
            context.load_cert_chain(config.client_cert_file, config.client_key_file)
    except OSError as error:
        raise InvalidInputError(
            f"{name} is not a readable PEM file.", field=field, remedy="Check the path and the file."
        ) from error
    return context


def _require_trust(error: httpx.TransportError, server: str) -> None:
    """Refuses at once a server whose certificate cannot be verified: asking again changes nothing."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, ssl.SSLError):
        reason = reason.__cause__ or reason.__context__
    if reason is not None or "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise SourceError(
            f"The TLS connection to {server} failed: {reason or error}.",
            field="ca_file",
            remedy="Set `ca_file` of the source to the certificate authority that signed its certificate, and"
            " check that the address is https where the server speaks TLS.",
        ) from error


def _transport_failure(error: httpx.TransportError, timeout_seconds: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {timeout_seconds:g} s"
    return str(error) or type(error).__name__


def _samples(answer: object) -> int:
    """Returns how many values an answer holds; names of labels and series are none."""
    if not isinstance(answer, list):
        return 0
    return sum(
        len(one.values) if isinstance(one, RangeSeries) else isinstance(one, InstantSample) for one in answer
    )


def _seconds(instant: datetime) -> str:
    return f"{instant.timestamp():.3f}"


def _joined(parts: list[list[RangeSeries]]) -> list[RangeSeries]:
    by_labels: dict[tuple[tuple[str, str], ...], list[RangeSeries]] = {}
    for part in parts:
        for series in part:
            by_labels.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    return [RangeSeries.concatenated(pieces) for pieces in by_labels.values()]
