"""Page cursors: the place of the last row seen, as opaque text."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Table, literal, tuple_

from perfopt.errors import InvalidInputError
from perfopt_api.store.port import MAX_LIMIT

_BYTES = 8 + 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(created_at: datetime, row_id: UUID) -> str:
    """Packs the place of a row: microseconds since the epoch, then its id."""
    since = created_at - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return (
        base64.urlsafe_b64encode(micros.to_bytes(8, "big", signed=True) + row_id.bytes).decode().rstrip("=")
    )


def decode_cursor(text: str) -> tuple[datetime, UUID]:
    """Unpacks a cursor.

    Raises:
        InvalidInputError: it is none of ours.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if len(raw) != _BYTES:
            raise ValueError("length")
        instant = _EPOCH + timedelta(microseconds=int.from_bytes(raw[:8], "big", signed=True))
    except (ValueError, binascii.Error, OverflowError) as error:
        raise InvalidInputError(
            "This is not a cursor of this listing.",
            field="cursor",
            remedy="Take it from the `next` link of a page, or leave it out to start at the newest.",
        ) from error
    return instant, UUID(bytes=raw[8:])


def paged(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """Orders a query newest first from the cursor on, and asks for one row more to see if a page follows.

    Raises:
        InvalidInputError: malformed cursor, or a limit outside 1 to MAX_LIMIT.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInputError(f"{limit} is not between 1 and {MAX_LIMIT}.", field="limit")
    if cursor is not None:
        instant, row_id = decode_cursor(cursor)
        place = tuple_(literal(instant, table.c.created_at.type), literal(row_id, table.c.id.type))
        query = query.where(tuple_(table.c.created_at, table.c.id) < place)
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
