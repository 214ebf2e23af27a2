"""OpenTelemetry traces (extra `perfopt-api[otel]`): off, and without cost, unless `traces_endpoint` is set.

A request's context goes with its job: in the header of the NATS message that wakes a worker, in the row
of the job, which any worker may claim, and in the headers of the events that come of it.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from perfopt.errors import InvalidInputError
from perfopt_api.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

HEADER = "traceparent"
Kind = Literal["internal", "server", "client", "producer", "consumer"]


class _Tracing:
    """The tracer of this process; None makes no traces."""

    tracer: Any = None


def configure_tracing(settings: ServiceSettings, component: str) -> None:
    """Has this process send traces, where the settings name an endpoint.

    Args:
        settings: endpoint and share.
        component: `perfopt-api` or `perfopt-worker`.

    Raises:
        InvalidInputError: the extra is not installed.
    """
    if settings.traces_endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise InvalidInputError(
            f"Traces need a package that is not installed ({error.name}).",
            field="service.traces_endpoint",
            remedy="Install perfopt-api[otel], or remove the setting.",
        ) from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": component}),
        sampler=ParentBased(TraceIdRatioBased(settings.traces_ratio)),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_endpoint)))
    use_provider(provider)


def use_provider(provider: "TracerProvider | None") -> None:
    """Has spans made by a provider; None makes none."""
    _Tracing.tracer = None if provider is None else provider.get_tracer("perfopt")


def span(
    name: str, *, kind: Kind = "internal", parent: str | None = None, **attributes: str | int | float | bool
) -> AbstractContextManager[Any]:
    """Returns a context that is a span of the trace; gives the span, or None where there are no traces.

    Args:
        name: of the span.
        kind: of the span.
        parent: header `traceparent` of another process; the current span otherwise.
        attributes: figures and names, never bodies or credentials.
    """
    if _Tracing.tracer is None:
        return contextlib.nullcontext()
    return _span(name, kind, parent, attributes)


@contextlib.contextmanager
def _span(name: str, kind: Kind, parent: str | None, attributes: dict[str, Any]) -> Iterator[Any]:
    from opentelemetry.trace import SpanKind

    context = None if parent is None else _propagator().extract({HEADER: parent})
    with _Tracing.tracer.start_as_current_span(
        name, context=context, kind=SpanKind[kind.upper()], attributes=attributes
    ) as current:
        yield current


def traceparent() -> str | None:
    """Returns the current span as the header that another process continues from; None without one."""
    if _Tracing.tracer is None:
        return None
    headers: dict[str, str] = {}
    _propagator().inject(headers)
    return headers.get(HEADER)


def trace_headers() -> dict[str, str]:
    """Returns the headers that carry the current span, if there is one."""
    parent = traceparent()
    return {} if parent is None else {HEADER: parent}


def trace_id() -> str | None:
    """Returns the id of the current trace, for the log."""
    parent = traceparent()
    return None if parent is None else parent.split("-")[1]


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
