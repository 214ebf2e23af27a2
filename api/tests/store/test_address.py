"""Addresses of PostgreSQL are read as libpq reads them."""

import pytest
from sqlalchemy import text

from perfopt.errors import InvalidInputError
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
