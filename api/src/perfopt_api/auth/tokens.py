"""Tokens of the API: what is stored of one is a hash, so that a copy of the database lets nobody in."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Protocol

import msgspec

from perfopt_api.auth.roles import Grant

PREFIX = "perfopt"
_ID_BYTES = 6
_SECRET_BYTES = 32


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is stored.

    Attributes:
        token_id: part of the token; names it in lists and in the audit.
        name: of its holder.
        grant: what it allows.
        secret_hash: SHA-256 of the secret part, in hex. The secret has 256 random bits, so a salt or a
            slow hash would add nothing.
        created_by, created_at: who made it, and when.
        expires_at: it is refused from then on.
        revoked_at: it is refused since then.
        last_used_at: to the hour.
    """

    token_id: str
    name: str
    grant: Grant
    secret_hash: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class TokenReader(Protocol):
    """Where stored tokens are."""

    async def find(self, token_id: str) -> TokenRecord | None:
        """Returns a token, used now, or None; raises UnavailableError while PostgreSQL is away."""


def new_secret() -> tuple[str, str, str]:
    """Returns the id of a new token, the hash to store, and the token itself, which is kept nowhere."""
    token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    return token_id, hash_of(secret), f"{PREFIX}_{token_id}_{secret}"


def parse_token(text: str) -> tuple[str, str] | None:
    """Returns id and secret of what looks like a token of the API; None for anything else."""
    prefix, *rest = text.split("_", 2)
    return (rest[0], rest[1]) if prefix == PREFIX and len(rest) == 2 and rest[0].isalnum() else None


def hash_of(secret: str) -> str:
    """Returns what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(record: TokenRecord, secret: str) -> bool:
    """Returns whether a secret is the token's, in a time that does not depend on how close it is."""
    return hmac.compare_digest(record.secret_hash, hash_of(secret))
