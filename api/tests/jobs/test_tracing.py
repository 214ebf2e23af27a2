"""One request followed from the API through queue, worker, source and database to its event."""

import asyncio

import httpx
import nats
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import LogCapture

from perfopt.config.loading import Config, FilesConfig
from perfopt_api import tracing
from perfopt_api.bootstrap import open_app
from perfopt_api.logs import add_trace
from perfopt_api.settings import ServiceSettings, with_service
from perfopt_api.telemetry import timed

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = PARENT.split("-")[1]


@pytest.fixture
def exported():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use_provider(provider)
    yield exporter
    tracing.use_provider(None)
    provider.shutdown()


@pytest.fixture
def logged():
    lines = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, add_trace, lines])
    yield lines.entries
    structlog.reset_defaults()


async def test_one_trace_from_the_request_to_its_event(
    exported, logged, settings, worker, recommendation, result
):
    async def analyse(request):
        with timed("fetch"):
            await asyncio.sleep(0)
        return result(recommendation())

    config = Config(sources={"traces": FilesConfig(paths="traces")}, default_source="traces")
    config = with_service(config, database_url=settings.database_url, nats_url=settings.nats_url)
    client = await nats.connect(settings.nats_url)
    events = await client.subscribe("quantivista.optimization.recommendation_generated.>")
    async with open_app(config) as app, worker(settings, analyse):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://perfopt.test") as caller:
            answer = await caller.post(
                "/api/v1/optimization/analyze",
                json={"service_name": "vm-1"},
                headers={"traceparent": PARENT, "Prefer": "wait=20"},
            )
        event = await events.next_msg(timeout=20)
    await client.close()
    assert answer.json()["status"] == "RECOMMENDATIONS_READY"
    ours = [span for span in exported.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE]
    names = {span.name for span in ours}
    assert names >= {
        "POST /api/v1/optimization/analyze",
        "queue job",
        "analysis",
        "fetch",
        "store",
        "postgresql transaction",
        "publish event",
    }
    by_id = {span.context.span_id: span for span in ours}
    analysis = next(span for span in ours if span.name == "analysis")
    assert by_id[analysis.parent.span_id].name == "POST /api/v1/optimization/analyze"
    fetched = next(span for span in ours if span.name == "fetch")
    assert fetched.parent.span_id == analysis.context.span_id
    assert event.headers["traceparent"].split("-")[1] == TRACE
    finished = next(line for line in logged if line["event"] == "job_finished")
    assert (finished["trace_id"], finished["job_id"]) == (TRACE, answer.json()["job_id"])


def test_nothing_is_made_without_an_endpoint():
    tracing.configure_tracing(ServiceSettings(), "perfopt-api")
    with tracing.span("anything") as made:
        assert made is None
        assert tracing.trace_headers() == {}


def test_endpoint_has_spans_sent_there():
    settings = ServiceSettings(traces_endpoint="http://127.0.0.1:9/v1/traces", traces_ratio=0)
    try:
        tracing.configure_tracing(settings, "perfopt-api")
        with tracing.span("anything", job_id="1"):
            assert len(tracing.trace_id()) == 32
        with tracing.span("broken parent", parent="nonsense"):
            assert len(tracing.trace_id()) == 32
    finally:
        tracing.use_provider(None)
