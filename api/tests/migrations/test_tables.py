import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from perfopt.errors import InvalidInputError
from perfopt_api.store import schema
from perfopt_api.store.columns import metadata
from perfopt_api.store.database import Database
from perfopt_api.store.tables import SCHEMA_REVISION

SEED = {
    "optimization_jobs": {
        "id": ("uuid", None, "NO", "gen_random_uuid()"),
        "job_id": ("character varying", 100, "NO", None),
        "service_name": ("character varying", 100, "NO", None),
        "optimization_type": ("character varying", 50, "NO", None),
        "status": ("character varying", 32, "NO", None),
        "analysis_period": ("character varying", 50, "YES", None),
        "created_at": ("timestamp with time zone", None, "NO", "now()"),
        "completed_at": ("timestamp with time zone", None, "YES", None),
    },
    "optimization_recommendations": {
        "id": ("uuid", None, "NO", "gen_random_uuid()"),
        "recommendation_id": ("character varying", 100, "NO", None),
        "job_id": ("character varying", 100, "NO", None),
        "service_name": ("character varying", 100, "NO", None),
        "optimization_type": ("character varying", 50, "NO", None),
        "description": ("text", None, "NO", None),
        "current_state": ("json", None, "NO", None),
        "recommended_state": ("json", None, "NO", None),
        "expected_improvement": ("json", None, "YES", None),
        "applied": ("boolean", None, "NO", "false"),
        "created_at": ("timestamp with time zone", None, "NO", "now()"),
    },
}


@pytest.fixture
async def empty(empty_database_url):
    opened = Database(empty_database_url)
    yield opened
    await opened.close()


async def tables(database):
    async with database.transaction() as connection:
        found = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    return found - {"workload_days_default"}  # a partition is no table of its own


async def test_up_down_and_up_again_leaves_what_up_alone_leaves(empty):
    declared = set(metadata.tables) | {"alembic_version"}
    assert await schema.migrate(empty) == ("base", schema.head_revision())
    assert await tables(empty) == declared
    assert await schema.migrate(empty, "base", down=True) == (schema.head_revision(), "base")
    assert await tables(empty) == {"alembic_version"}
    await schema.migrate(empty)
    assert await tables(empty) == declared


async def test_migrated_schema_does_not_drift_from_the_declared_tables(database):
    def differences(connection):
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: (kind, name) != ("table", "workload_days_default"),
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with database.transaction() as connection:
        assert await connection.run_sync(differences) == []


async def test_names_of_constraints_and_indexes_do_not_drift(database, empty):
    query = text(
        "SELECT c.relname, i.relname, pg_get_indexdef(i.oid) FROM pg_index x "
        "JOIN pg_class c ON c.oid=indrelid JOIN pg_class i ON i.oid=indexrelid "
        "WHERE c.relnamespace='public'::regnamespace "
        "AND c.relname <> 'alembic_version' ORDER BY 1, 2"
    )
    async with empty.transaction() as connection:
        await connection.run_sync(metadata.create_all)
        declared = (await connection.execute(query)).all()
    async with database.transaction() as connection:
        assert (await connection.execute(query)).all() == declared


@pytest.mark.parametrize("table", SEED)
async def test_columns_of_the_contract_are_exact(database, table):
    query = text(
        "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_name = :table"
    )
    async with database.transaction() as connection:
        rows = (await connection.execute(query, {"table": table})).all()
    found = {name: tuple(rest) for name, *rest in rows}
    assert {name: found.get(name) for name in SEED[table]} == SEED[table]


async def test_two_runs_at_once_both_succeed(empty, empty_database_url):
    other = Database(empty_database_url)
    results = await asyncio.gather(schema.migrate(empty), schema.migrate(other))
    await other.close()
    assert sorted(before for before, _ in results) == [schema.head_revision(), "base"]
    assert {after for _, after in results} == {schema.head_revision()}


async def test_unknown_revision_says_so(empty):
    with pytest.raises(InvalidInputError, match="nonsense") as caught:
        await schema.migrate(empty, "nonsense")
    assert caught.value.field == "revision"


def test_code_names_the_newest_revision():
    assert schema.head_revision() == SCHEMA_REVISION


async def test_outcomes_of_before_are_filled_in_batches(empty):
    await schema.migrate(empty, "0010")
    async with empty.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO optimization_recommendations (recommendation_id, job_id, service_name,"
                " optimization_type, description, current_state, recommended_state, expected_improvement,"
                " rank, workload, made_at, valid_until, body, announced, superseded_by)"
                " SELECT 'opt_' || n || CASE WHEN n % 2 = 0 THEN 'B' ELSE 'a' END, 'job', 'svc',"
                " 'RESOURCE_OPTIMIZATION', '', '{}', '{}', '{\"confidence\": 0.5}', 1, 'w', now(), now(),"
                " '{\"plugin\": \"resource\"}', '{}', 'x' FROM generate_series(1, 25001) n"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO recommendation_outcomes (recommendation_id, due_at)"
                " SELECT recommendation_id, now() FROM optimization_recommendations"
            )
        )
    await schema.migrate(empty)
    query = text("SELECT count(*) FROM recommendation_outcomes WHERE stated = 0.5 AND strategy = 'resource'")
    async with empty.transaction() as connection:
        assert await connection.scalar(query) == 25001
