"""Real servers for the tests of the service: one PostgreSQL and one nats-server for each test process."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import nats
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    Reason,
)
from perfopt.testing import make_recommendation
from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root
from perfopt_api.store.database import Database
from perfopt_api.store.schema import migrate_now

TEMPLATE = "perfopt_template"
MADE_AT = datetime(2025, 6, 21, 10, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server_root():
    with temporary_root() as root:
        yield root


@pytest.fixture(scope="session")
def postgres_server(server_root):
    """A cluster with a migrated template database. Do not stop it: other tests use it too."""
    with PostgresServer(server_root / "postgres", durable=False, ephemeral=True) as server:
        server.create_database(TEMPLATE)
        migrate_now(server.url(TEMPLATE))
        yield server


@pytest.fixture
def empty_database_url(postgres_server):
    """A database of this test's own with no table in it."""
    name = f"test_{next(_numbers)}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server):
    """A migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    postgres_server.create_database(name, template=TEMPLATE)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
async def database(database_url):
    """A pool on this test's own database."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def nats_server(server_root):
    """A nats-server with JetStream. Do not stop it: other tests use it too."""
    with NatsServer(server_root / "nats", durable=False, ephemeral=True) as server:
        yield server


@pytest.fixture
def nats_url(nats_server):
    """The shared nats-server, with no stream in it."""
    asyncio.run(_without_streams(nats_server.url))
    return nats_server.url


async def _without_streams(url):
    client = await nats.connect(url)
    jetstream = client.jetstream()
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name)
    await client.close()


@pytest.fixture
def recommendation():
    """Builds a recommendation; keyword arguments change the recommended state or, with `_`, other fields."""

    def build(service="vm-1", kind=OptimizationType.RESOURCE_OPTIMIZATION, already_right=False, **state):
        recommended = {"cpu_request": "300m", "memory_request": "800Mi", "replicas": 4} | state
        return make_recommendation(
            recommendation_id="opt_20250621_001",
            service_name=service,
            optimization_type=kind,
            description="Optimize memory allocation and CPU requests",
            current_state={"cpu_request": "500m", "memory_request": "1Gi", "replicas": 3, "containers": {}},
            recommended_state={key: value for key, value in recommended.items() if value is not None},
            performance_gain_percent=15.0,
            workload=f"prod/deployment/{service}",
            made_at=MADE_AT,
            valid_until=MADE_AT + timedelta(days=7),
            no_change_needed=already_right,
            reasons=(Reason(code="peak", text="The peak was 280m.", data={"z": 1, "a": [1.5, None]}),),
            price_book="default",
            monthly_cost_current=12.5,
            monthly_cost_recommended=None,
        )

    return build


@pytest.fixture
def result():
    """Builds the result of an analysis from recommendations of one service."""

    def build(*made, declined=(), warnings=()):
        return AnalysisResult(
            service_name=made[0].service_name if made else "vm-1",
            workload=made[0].workload if made else "prod/deployment/vm-1",
            recommendations=made,
            declined=declined,
            warnings=warnings,
        )

    return build
