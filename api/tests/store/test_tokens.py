"""Tokens on PostgreSQL, and `perfopt token` on top of them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from perfopt.cli.main import cli
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.auth.roles import Grant, Role
from perfopt_api.auth.tokens import matches, parse_token
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.tokens import PostgresTokens

GRANT = Grant(role=Role.OPERATOR, namespaces=("shop", "edge"))
UNTIL = datetime.now(UTC) + timedelta(days=1)


async def test_a_token_is_found_by_its_id_and_only_its_hash_is_stored(database):
    tokens = PostgresTokens(database)
    record, secret_text = await tokens.create("ci", GRANT, UNTIL, "root")
    token_id, secret = parse_token(secret_text)
    found = await tokens.find(token_id)
    assert found.grant == GRANT
    assert matches(found, secret)
    assert not matches(found, secret + "x")
    assert await tokens.find("unknown") is None
    async with database.reading() as connection:
        row = (await connection.execute(text("SELECT t::text FROM api_tokens t"))).scalar_one()
        trail = (await connection.execute(text("SELECT a::text FROM audit a"))).scalars().all()
    assert secret not in row + "".join(trail)
    assert record.last_used_at is None
    assert (await tokens.list_tokens())[0].last_used_at is not None


async def test_revoking_is_once_and_in_the_audit(database):
    tokens = PostgresTokens(database)
    record, _ = await tokens.create("ci", GRANT, UNTIL, "root")
    assert (await tokens.revoke(record.token_id, "ann")).revoked_at is not None
    with pytest.raises(ConflictError):
        await tokens.revoke(record.token_id, "ann")
    with pytest.raises(NotFoundError):
        await tokens.revoke("unknown", "ann")
    await tokens.note_denied("bob", "GET /x", "wrong_role")
    trail = await PostgresApplyRequests(database).audit_log()
    assert [(entry.action, entry.principal) for entry in trail] == [
        ("token_created", "root"),
        ("token_revoked", "ann"),
        ("denied", "bob"),
    ]


def test_the_command_makes_lists_and_revokes(database_url, monkeypatch):
    monkeypatch.setenv("PERFOPT_SERVICE__DATABASE_URL", database_url)
    run = CliRunner().invoke
    made = run(cli, ["token", "create", "ci", "--role", "operator", "--namespace", "shop", "--expires", "7d"])
    assert made.exit_code == 0, made.output
    token_id, secret = parse_token(made.stdout.strip())
    assert "operator in shop" in made.stderr
    listed = run(cli, ["token", "list"]).stdout
    assert f"{token_id}  ci  operator in shop" in listed
    assert secret not in listed
    assert "secret_hash" not in json.loads(run(cli, ["token", "list", "--format", "json"]).stdout)[0]
    assert run(cli, ["token", "revoke", token_id]).exit_code == 0
    assert "revoked" in run(cli, ["token", "list"]).stdout


@pytest.mark.parametrize(
    "wrong", [["a b"], ["ci", "--expires", "400d"], ["ci", "--namespace", "A_b"], ["ci", "--role", "root"]]
)
def test_the_command_names_what_is_wrong(wrong):
    answer = CliRunner().invoke(cli, ["token", "create", *wrong])
    assert answer.exit_code != 0
    assert "Traceback" not in answer.output
