"""Addresses of PostgreSQL are read as libpq reads them."""

from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from tls import make_certificate, tls_postgres

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.store.address import DatabaseAddress
from perfopt_api.store.database import Database


@pytest.mark.parametrize(
    ("url", "dsn", "place"),
    [
        ("postgresql://u:p@db:5433/x", "postgresql://u:p@db:5433/x", "db:5433/x"),
        ("postgres://u@db/x", "postgresql://u@db/x", "db:5432/x"),
        ("postgresql+asyncpg://u@db/x?ssl=require", "postgresql://u@db/x?sslmode=require", "db:5432/x"),
        ("postgresql://u:p%40ss%2Fw@db/x", "postgresql://u:p%40ss%2Fw@db/x", "db:5432/x"),
        ("postgresql://u@a,b:6000/x", "postgresql://u@a,b:6000/x", "a:5432,b:6000/x"),
        ("postgresql://u@[::1]/x", "postgresql://u@[::1]/x", "[::1]:5432/x"),
        (
            "postgresql://u@db/x?sslmode=verify-full&sslrootcert=/ca.pem&application_name=me&keepalives=1",
            "postgresql://u@db/x?sslmode=verify-full&sslrootcert=%2Fca.pem&application_name=me",
            "db:5432/x",
        ),
        ("postgresql://u@/x?host=/run/pg", "postgresql://u@/x?host=%2Frun%2Fpg", "/run/pg/x"),
    ],
)
def test_an_address_keeps_what_libpq_knows_and_shows_no_password(url, dsn, place):
    address = DatabaseAddress.parse(url)
    assert (address.dsn, address.place) == (dsn, place)
    assert address.named == ("application_name" in url)


def test_the_time_to_connect_is_of_the_address():
    assert DatabaseAddress.parse("postgresql://db/x?connect_timeout=7").connect_seconds == 7.0
    assert DatabaseAddress.parse("postgresql://db/x?connect_timeout=0").connect_seconds is None


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db/x",
        "postgresql://db:port/x",
        "postgresql://db:70000/x",
        "postgresql://db/x?connect_timeout=y",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InvalidInputError, match="not the address of a PostgreSQL database"):
        DatabaseAddress.parse(url)


@pytest.mark.parametrize(("query", "name"), [("", "perfopt"), ("?application_name=fleet", "fleet")])
async def test_the_next_host_is_taken_and_the_server_sees_the_name(database_url, query, name):
    reachable = database_url.replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1") + query
    database = Database(reachable)
    try:
        async with database.transaction() as connection:
            assert await connection.scalar(text("SHOW application_name")) == name
    finally:
        await database.close()


async def first_row(url):
    database = Database(url)
    try:
        async with database.transaction() as connection:
            return (await connection.execute(text("SELECT current_setting('application_name')"))).scalar_one()
    finally:
        await database.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def url_on(database_url):
    """Returns the address of the database on other ports of loopback."""
    parts = urlsplit(database_url)

    def changed(*ports, **parameters):
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        login = parts.netloc.rpartition("@")[0]
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{login}@{hosts}{parts.path}?{query}"

    return changed


async def test_certificate_is_verified_against_sslrootcert(certificate, database_url, url_on):
    async with tls_postgres(certificate, urlsplit(database_url).port) as port:
        url = url_on(port, sslmode="verify-full", sslrootcert=certificate.file, application_name="me")
        assert await first_row(url) == "me"
        assert await first_row(url_on(port, sslmode="require")) == "perfopt"


async def test_another_authority_s_certificate_is_refused(certificate, database_url, url_on, tmp_path):
    other = make_certificate(tmp_path, "other")
    async with tls_postgres(certificate, urlsplit(database_url).port) as port:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await first_row(url_on(port, sslmode="verify-full", sslrootcert=other.file))


async def test_a_server_without_tls_is_refused_where_tls_is_required(database_url, url_on):
    with pytest.raises(UnavailableError, match=r"PostgreSQL at 127\.0\.0\.1"):
        await first_row(url_on(urlsplit(database_url).port, sslmode="require"))


async def test_the_next_host_is_taken_when_one_goes(certificate, database_url, url_on):
    port = urlsplit(database_url).port
    async with tls_postgres(certificate, port) as second:
        async with tls_postgres(certificate, port) as first:
            roots = {"sslmode": "verify-full", "sslrootcert": certificate.file}
            database = Database(url_on(first, second, **roots))
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
        async with database.transaction() as connection:  # the pool finds its connection gone
            assert (await connection.execute(text("SELECT 2"))).scalar_one() == 2
        await database.close()
