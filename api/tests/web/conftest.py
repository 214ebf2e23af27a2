"""The pages on a real PostgreSQL, with two analysed workloads, one of them with markup in its names."""

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import msgspec
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

from perfopt import testing
from perfopt.config.loading import Config, FilesConfig
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, Reason
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import SourceError, UnavailableError
from perfopt_api.apply.moves import note
from perfopt_api.apply.order import new_apply, order_of
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.apply.state import ApplyState
from perfopt_api.auth.roles import Role
from perfopt_api.http.app import create_app
from perfopt_api.http.ports import ApiPorts
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.serving import http_server
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.backtests import PostgresBacktests
from perfopt_api.store.dashboard import PageStore
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.refusals import PostgresRefusals
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.store.work import PostgresWorkStore
from perfopt_api.web.app import dashboard
from perfopt_api.web.permalinks import BrowserLinks
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.series import SeriesReader
from perfopt_api.web.view import template_config

CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "a-token-of-sixteen-characters"
OTHER = "another-token-of-many-characters"
WORKLOAD = "trading/deployment/checkout"
HOSTILE = "trading/deployment/<img src=x onerror=alert(1)>"


class Queue:
    def __init__(self):
        self.enqueued = []

    async def enqueue(self, job_id):
        self.enqueued.append(job_id)

    async def ping(self):
        return None


class Preflight:
    """Answers as a worker does; without an answer, none runs."""

    def __init__(self):
        self.asked, self.answer = [], None

    async def ask(self, request):
        self.asked.append(request)
        if self.answer is None:
            raise UnavailableError("No worker that may change the cluster runs.", remedy="Start a worker.")
        return self.answer


def made_for(workload, **changes):
    now = datetime.now(UTC)
    made = testing.make_recommendation(
        recommendation_id="opt_20261130_001",
        service_name=workload.rpartition("/")[2],
        description=f"Lower the CPU request of {workload} to 300m.",
        current_state={
            "cpu_request": "500m",
            "memory_request": "1Gi",
            "replicas": 3,
            "containers": {"app": {"cpu_request": "500m", "memory_request": "1Gi"}},
        },
        recommended_state={
            "cpu_request": "300m",
            "memory_request": "1Gi",
            "replicas": 3,
            "containers": {"app": {"cpu_request": "300m", "memory_request": "1Gi"}},
        },
        workload=workload,
        made_at=now - timedelta(hours=1),
        valid_until=now + timedelta(days=7),
        reasons=(Reason(code="peak", text="The peak of <b>app</b> was 280m."),),
        monthly_cost_current=100.0,
        monthly_cost_recommended=60.0,
    )
    return msgspec.structs.replace(made, **changes)


async def analyse(database, *made, workload=WORKLOAD, declined=()):
    """Stores a finished analysis as a worker does; returns its job."""
    store, work = PostgresStore(database), PostgresWorkStore(database)
    service = workload.rpartition("/")[2]
    job = (await store.create_job(PerformanceAnalysisRequest(service_name=service, source="traces"))).job
    claim = await work.claim(owner="w", lease=timedelta(seconds=60))
    result = AnalysisResult(
        service_name=service, workload=workload, recommendations=made, declined=declined, warnings=()
    )
    await work.finish_job(claim, result)
    return await store.get_job(job.job_id)


ABSTAINED = Declined(
    optimization_type=OptimizationType.LATENCY_OPTIMIZATION,
    code=DeclineCode.NO_DATA,
    reason="There is no latency.",
    plugin="latency/latency",
)


def build(database, settings):
    """The application on a database, and what is behind it."""
    queue = Queue()

    async def opened(name):
        raise SourceError(f"The source {name} <is> away.", remedy="Start it.")

    api = ApiPorts(
        checks={"postgresql": queue.ping, "nats": queue.ping},
        store=PostgresStore(database),
        queue=queue,
        waiter=SimpleNamespace(stop=lambda: None),
        models=None,
        live=None,
        probe=lambda: (),
        config=Config(sources={"traces": FilesConfig(paths="traces")}, default_source="traces"),
        settings=settings,
        applies=PostgresApplyRequests(database),
        schedules=PostgresSchedules(database),
        policy=PolicySettings(),
    )
    web = WebPorts(
        api=api,
        pages=PageStore(database),
        series=SeriesReader(opened),
        backtests=PostgresBacktests(database),
        refusals=PostgresRefusals(database),
        preflight=Preflight(),
    )
    app = create_app(api, pages=dashboard(web), templates=template_config(), links=BrowserLinks)
    return SimpleNamespace(app=app, queue=queue, web=web, database=database)


def browser(app):
    """Requests as a browser makes them, in the loop of the test, whose pool of connections is used."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://perfopt.test", follow_redirects=True)


@pytest.fixture
def world(database):
    return build(database, ServiceSettings(requests_per_second=100_000))


@pytest.fixture
def guarded(database):
    keys = {"alice": ApiKey(token=TOKEN), "bob": ApiKey(token=OTHER)}
    return build(database, ServiceSettings(requests_per_second=100_000, api_keys=keys))


@pytest.fixture
async def client(world):
    async with browser(world.app) as client:
        yield client


@pytest.fixture
async def analysed(database):
    """Three workloads: one changes, one with markup in its name abstained, one stays as it is."""
    made = made_for(WORKLOAD)
    change = await analyse(database, made, declined=(ABSTAINED,))
    await analyse(database, workload=HOSTILE, declined=(ABSTAINED,))
    same = made_for("edge/deployment/gateway", recommended_state=made.current_state, no_change_needed=True)
    await analyse(database, same, workload="edge/deployment/gateway")
    return change


@pytest.fixture
def recommended(analysed):
    """Address of the recommendation of WORKLOAD: its id has the day on which it was stored."""
    return f"/ui/recommendations/{analysed.recommendations[0].recommendation_id}"


@pytest.fixture
def plan(recommended):
    return f"{recommended}/plan"


@pytest.fixture
async def waiting(database, analysed):
    """A change that alice asked for and that waits for somebody else's approval; returns its job's id."""
    made = analysed.recommendations[0]
    order = order_of(made, ApplyRecommendationRequest(mode="canary"), PolicySettings())
    new = new_apply(order, made, analysed.job_id, requester="alice", reason="save")
    job_id = (await PostgresApplyRequests(database).create_apply(new)).job.job_id
    applies = PostgresApplies(database)
    claim = await applies.claim_apply(owner="w", lease=timedelta(seconds=60))
    why = "rules/large: It waits for 1 approval(s) of another principal."
    entry = note(datetime.now(UTC), "gates", "approval", why)
    state = msgspec.to_builtins(ApplyState(waiting="rules/large"))
    await applies.save_apply(claim, step="preflight", state=state, entries=(entry,))
    await applies.release_apply(claim, due_at=datetime.now(UTC) + timedelta(hours=1), unlock=True)
    return job_id


@pytest.fixture
async def viewed(database):
    """The pages as a viewer of the namespace's workloads sees them."""
    keys = {"vera": ApiKey(token=TOKEN, role=Role.VIEWER)}
    app = build(database, ServiceSettings(requests_per_second=100_000, api_keys=keys)).app
    async with browser(app) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client


async def shown(client, path, status=200):
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def token_of(html):
    return re.search(r'name="form_token" value="([^"]+)"', html)[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def serve():
    """Serves an application and returns its address."""
    contexts = []

    async def begin(app):
        port = free_port()
        context = http_server(app, "127.0.0.1", port, ServiceSettings())
        await context.__aenter__()
        contexts.append(context)
        return f"http://127.0.0.1:{port}"

    yield begin
    for context in contexts:
        await context.__aexit__(None, None, None)


@pytest.fixture(name="browser")
async def chromium():
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        await found.close()


async def serious(page):
    found = await Axe().run(page)
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
