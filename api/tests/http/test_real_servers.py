"""The same API on PostgreSQL and NATS: what the fakes promise holds there; a lost server is told at once."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import httpx
import msgspec
import pytest

from perfopt.config.loading import Config, EngineConfig, FilesConfig
from perfopt.domain.recommendation import AnalysisResult
from perfopt.errors import UnavailableError
from perfopt_api.bootstrap import open_app
from perfopt_api.embedded import NatsServer, PostgresServer
from perfopt_api.settings import with_service
from perfopt_api.store.port import FinishResult, JobClaim
from perfopt_api.store.schema import migrate_now
from perfopt_api.store.work import PostgresWorkStore

API = "/api/v1/optimization"
BODY = {"service_name": "portfolio_management_service"}


@pytest.fixture
def nats(server_root):
    with NatsServer(server_root / f"nats-{uuid4().hex}", durable=False, ephemeral=True) as server:
        yield server


@pytest.fixture
def config(database_url, nats):
    base = Config(sources={"traces": FilesConfig(paths="traces")})
    return with_service(base, database_url=database_url, nats_url=nats.url, startup_seconds=5)


@pytest.fixture
async def real(config):
    async with open_app(config) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client


@pytest.fixture
def finish(database, make_recommendation):
    """Finishes a job as a worker does, with a recommendation for a workload."""

    async def run(job_id, workload="n/deployment/w"):
        work = PostgresWorkStore(database)
        claim = await work.claim(owner="test", lease=timedelta(seconds=30))
        assert isinstance(claim, JobClaim)
        result = AnalysisResult(
            service_name=BODY["service_name"],
            workload=workload,
            recommendations=(make_recommendation(workload=workload),),
            declined=(),
            warnings=(),
        )
        assert await work.finish_job(claim, result) is FinishResult.DONE

    return run


async def posted(real, body=BODY, **headers):
    return await real.post(f"{API}/analyze", json=body, headers=headers)


async def test_a_job_is_stored_shown_and_listed(real):
    response = await posted(real)
    assert response.status_code == 202
    job = response.json()
    assert (await real.get(response.headers["location"])).json() == job
    assert [item["job_id"] for item in (await real.get(f"{API}/jobs?status=ANALYZING")).json()] == [
        job["job_id"]
    ]


async def test_a_key_gives_its_job_again_or_a_422(real):
    first = await posted(real, **{"Idempotency-Key": "k"})
    again = await posted(real, **{"Idempotency-Key": "k"})
    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = await posted(real, {"service_name": "other"}, **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency_key_reused")


async def test_waiting_ends_when_the_worker_has_finished(real, finish):
    async def work():
        while not (jobs := (await real.get(f"{API}/jobs")).json()):
            await asyncio.sleep(0.01)
        await finish(jobs[0]["job_id"])

    worker = asyncio.create_task(work())
    response = await posted(real, Prefer="wait=20")
    await worker
    assert response.status_code == 200
    assert response.json()["status"] == "RECOMMENDATIONS_READY"
    assert len(response.json()["recommendations"]) == 1


async def test_recommendations_are_listed_previewed_and_exported(real, finish):
    for name in ("a", "b", "c"):
        await finish((await posted(real)).json()["job_id"], f"n/deployment/{name}")
    first = await real.get(f"{API}/recommendations?limit=2")
    url = first.headers["link"].partition(">")[0].lstrip("<")
    second = await real.get(url)
    assert [len(first.json()), len(second.json())] == [2, 1]
    assert "link" not in second.headers
    made = second.json()[0]
    assert (await real.get(f"{API}/recommendations/{made['recommendation_id']}")).json() == made
    for mode in ("dry_run", "export"):
        response = await real.post(
            f"{API}/recommendations/{made['recommendation_id']}/apply", json={"mode": mode}
        )
        assert response.status_code == 200
        assert [item["recommendation_id"] for item in response.json()["recommendations"]] == [
            made["recommendation_id"]
        ]
        assert response.json()["artifacts"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?service_name=a%00b",
        "/jobs?cursor=%00",
        "/jobs?cursor=nonsense",
        "/jobs?cursor=" + "A" * 400,
        "/jobs?cursor=-1",
        "/recommendations?cursor=%F0%9F%92%A5",
        "/recommendations?service_name=%00",
        "/recommendations/%00",
    ],
)
async def test_nonsense_is_a_400(real, path):
    assert (await real.get(API + path)).status_code == 400


@pytest.mark.parametrize("path", ["/jobs/nope", "/jobs/" + "x" * 300, "/recommendations/opt_20260101_999"])
async def test_what_is_not_there_is_a_404(real, path):
    assert (await real.get(API + path)).status_code == 404


@pytest.mark.parametrize("name", ["a'b; DROP TABLE optimization_jobs;--", "日本語", "💥", "a%b_c", "\\"])
async def test_any_plain_name_is_kept_as_it_is(real, name):
    assert (await posted(real, {"service_name": name})).json()["service_name"] == name
    [job] = (await real.get(f"{API}/jobs", params={"service_name": name})).json()
    assert job["service_name"] == name


async def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await condition():
            return True
        await asyncio.sleep(0.05)
    return False


async def is_down(real, name):
    response = await real.get("/health/ready")
    return response.status_code == 503 and [error["field"] for error in response.json()["errors"]] == [name]


async def is_ready(real):
    return (await real.get("/health/ready")).status_code == 200


async def test_a_lost_nats_is_told_within_five_seconds_and_no_job_is_lost(real, nats):
    assert await is_ready(real)
    nats.stop()
    assert await until(lambda: is_down(real, "nats"), 5)
    response = await posted(real)
    assert response.status_code == 202
    assert (await real.get(f"{API}/jobs/{response.json()['job_id']}")).json()["status"] == "ANALYZING"
    nats.start()
    assert await until(lambda: is_ready(real), 20)


class TestWithADatabaseServerOfItsOwn:
    @pytest.fixture
    def postgres(self, server_root):
        with PostgresServer(server_root / f"pg-{uuid4().hex}", durable=False, ephemeral=True) as server:
            server.create_database("own")
            migrate_now(server.url("own"))
            yield server

    @pytest.fixture
    def database_url(self, postgres):
        return postgres.url("own")

    async def test_a_lost_postgresql_is_told_within_five_seconds(self, real, postgres):
        assert await is_ready(real)
        postgres.stop()
        assert await until(lambda: is_down(real, "postgresql"), 5)
        response = await posted(real)
        assert response.status_code == 503
        assert "PostgreSQL at" in response.json()["detail"]
        assert "retry-after" in response.headers
        assert (await real.get("/health/live")).status_code == 200
        postgres.start()
        assert await until(lambda: is_ready(real), 20)
        assert (await posted(real)).status_code == 202


async def test_a_schema_that_is_behind_is_not_ready(config, empty_database_url):
    behind = with_service(config, database_url=empty_database_url, startup_seconds=0.1)
    with pytest.raises(UnavailableError, match="perfopt migrate"):
        async with open_app(behind):
            pytest.fail("it opened on a database without tables")


class TestWithADisabledPlugin:
    @pytest.fixture
    def config(self, config):
        return msgspec.structs.replace(config, engine=EngineConfig(disabled_plugins=("resource",)))

    async def test_it_is_listed_as_disabled(self, real):
        listed = {plugin["name"]: plugin["status"] for plugin in (await real.get(f"{API}/plugins")).json()}
        assert listed["resource"] == "disabled"
