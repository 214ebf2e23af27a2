"""Real servers for the tests of the service: one PostgreSQL and one nats-server for each test process."""

import itertools

import pytest

from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root
from perfopt_api.store.database import Database
from perfopt_api.store.schema import migrate_now

TEMPLATE = "perfopt_template"
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
def stream_suffix():
    """Makes the streams and subjects of one test its own on the shared server."""
    return f"T{next(_numbers)}"
