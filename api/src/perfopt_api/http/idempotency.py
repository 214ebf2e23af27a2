"""The header Idempotency-Key: what it may be, and what a key that came before means."""

import contextlib
import re
from collections.abc import Iterator

from perfopt.errors import ConflictError, InvalidInputError
from perfopt_api.http.errors import IdempotencyKeyReusedError

_KEY = re.compile(r"[ -~]{1,255}")


def check_key(key: str | None) -> None:
    """Refuses a key that cannot be one.

    Raises:
        InvalidInputError: it is not 1 to 255 printable ASCII characters.
    """
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInputError(
            "The key is not 1 to 255 printable ASCII characters.",
            field="Idempotency-Key",
            remedy="Send a UUID, for example.",
        )


@contextlib.contextmanager
def idempotency_conflicts(key: str | None) -> Iterator[None]:
    """Turns the store's conflict about a key into the problem that callers know.

    Raises:
        IdempotencyKeyReusedError: the key came with another body.
    """
    try:
        yield
    except ConflictError as error:
        if key is None or error.field != "Idempotency-Key":
            raise
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key came with another body before.",
            field="Idempotency-Key",
            remedy="Repeat the first body, or take a new key.",
        ) from error
