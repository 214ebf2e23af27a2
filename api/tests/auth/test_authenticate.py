"""Configured and stored tokens: who is let in, and until when."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt_api.auth.authenticate import KEPT_SECONDS, Authenticator, is_required
from perfopt_api.auth.roles import OPEN, Grant, Right, Role
from perfopt_api.auth.tokens import TokenRecord, new_secret, parse_token
from perfopt_api.errors import UnauthorizedError
from perfopt_api.settings import ApiKey, ServiceSettings

NOW = datetime(2026, 11, 30, tzinfo=UTC)
TOKEN = "a-configured-token-of-ours"


class Stored:
    def __init__(self):
        self.records, self.reads = {}, 0

    def add(self, **changes):
        token_id, secret_hash, text = new_secret()
        self.records[token_id] = TokenRecord(
            token_id=token_id,
            name="ci",
            grant=Grant(role=Role.OPERATOR, namespaces=("shop",)),
            secret_hash=secret_hash,
            created_by="root",
            created_at=NOW,
            expires_at=NOW + timedelta(days=1),
        )
        self.change(token_id, **changes)
        return token_id, text

    def change(self, token_id, **changes):
        self.records[token_id] = msgspec.structs.replace(self.records[token_id], **changes)

    async def find(self, token_id):
        self.reads += 1
        return self.records.get(token_id)


@pytest.fixture
def stored():
    return Stored()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def auth(stored, clock):
    settings = ServiceSettings(auth="on", api_keys={"ann": ApiKey(token=TOKEN)})
    return Authenticator(settings, stored, now=lambda: NOW, monotonic=lambda: clock[0])


@pytest.mark.parametrize(
    ("fields", "required"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "10.1.2.3"}, True),
        ({"host": "perfopt.example"}, True),
        ({"host": "0.0.0.0", "auth": "off"}, False),
        ({"auth": "on"}, True),
        ({"api_keys": {"ann": ApiKey(token=TOKEN)}}, True),
    ],
)
def test_tokens_are_asked_for_beyond_loopback(fields, required):
    assert is_required(ServiceSettings(**fields)) is required


async def test_where_nothing_is_asked_everybody_may_do_everything():
    who = await Authenticator(ServiceSettings()).principal(None)
    assert who is OPEN
    assert all(who.namespaces(right) is None for right in Right)


async def test_stored_token_lets_its_holder_in(auth, stored):
    _, text = stored.add()
    who = await auth.principal(f"Bearer {text}")
    assert (who.name, who.namespaces(Right.CHANGE)) == ("ci", {"shop"})
    assert who.namespaces(Right.APPROVE) == frozenset()


async def test_configured_token_is_an_admin_unless_it_says_otherwise(auth):
    assert (await auth.principal(f"bearer {TOKEN}")).namespaces(Right.APPROVE) is None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer nobody"])
async def test_anything_else_is_refused(auth, header):
    with pytest.raises(UnauthorizedError):
        await auth.principal(header)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": NOW}, "expired_token"),
        ({"revoked_at": NOW}, "revoked_token"),
        ({"secret_hash": "0" * 64}, "unknown_token"),
    ],
)
async def test_tokens_that_ended_are_refused_with_the_reason(auth, stored, changes, reason):
    _, text = stored.add(**changes)
    with pytest.raises(UnauthorizedError) as refused:
        await auth.principal(f"Bearer {text}")
    assert refused.value.reason == reason


async def test_revoked_token_is_refused_after_what_a_process_keeps(auth, stored, clock):
    token_id, text = stored.add()
    for _ in range(3):
        await auth.principal(f"Bearer {text}")
    assert stored.reads == 1
    stored.change(token_id, revoked_at=NOW)
    clock[0] += KEPT_SECONDS
    with pytest.raises(UnauthorizedError):
        await auth.principal(f"Bearer {text}")


def test_what_is_stored_does_not_let_anybody_in():
    token_id, secret_hash, text = new_secret()
    parsed_id, secret = parse_token(text)
    assert parsed_id == token_id
    assert secret not in secret_hash
    assert len(secret) >= 43


@pytest.mark.parametrize("text", ["", "perfopt", "perfopt_x", "other_ab_cd", "perfopt_a/b_c"])
def test_other_texts_are_no_tokens(text):
    assert parse_token(text) is None
