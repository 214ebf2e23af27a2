"""Reads a JSON body strictly: content type, syntax, unknown fields, types. Nothing is coerced."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from litestar import Request

from perfopt.errors import InvalidInputError
from perfopt_api.http.errors import MalformedJsonError, UnsupportedMediaTypeError, allowed_values

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.S)


def body_of[T](into: type[T], *, optional: bool = False) -> Callable[..., Coroutine[Any, Any, T]]:
    """Returns a dependency that reads the body as a struct.

    Args:
        into: the struct.
        optional: an empty body stands for {}.
    """

    async def read(request: Request[Any, Any, Any]) -> T:
        raw = await request.body()
        if optional and not raw.strip():
            raw = b"{}"
        else:
            _require_json(request.headers.get("content-type"))
        return decode(raw, into)

    return read


def decode[T](raw: bytes, into: type[T]) -> T:
    """Decodes a body.

    Raises:
        MalformedJsonError: not JSON, or nested too deeply.
        InvalidInputError: an unknown field, a wrong type or a value out of bounds.
    """
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = str(error).removeprefix("JSON is malformed: ")
        raise MalformedJsonError(
            f"The body is not JSON: {problem}.", remedy="Send one JSON object."
        ) from error
    except RecursionError as error:
        raise MalformedJsonError(
            "The body is nested too deeply.", remedy="Send one flat JSON object."
        ) from error
    if not isinstance(value, dict):
        raise InvalidInputError("The body is not a JSON object.", field="body", remedy="Send {...}.")
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise _explained(str(error), into) from error


def require_plain(value: str | None, field: str) -> None:
    """Refuses control characters, which no name holds and PostgreSQL cannot store.

    Raises:
        InvalidInputError: there is one.
    """
    if value is not None and _CONTROL.search(value):
        raise InvalidInputError(
            f"{value!r} holds a control character.", field=field, remedy="Give a plain name."
        )


def _explained(text: str, into: type[Any]) -> InvalidInputError:
    problem, _, path = text.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    missing = _MISSING.fullmatch(problem)
    if missing is not None:
        return InvalidInputError(
            "The field is missing.", field=".".join(filter(None, (field, missing["name"])))
        )
    unknown = _UNKNOWN.fullmatch(problem)
    if unknown is None:
        return InvalidInputError(f"{problem}.", field=field or "body", remedy=allowed_values(field))
    name, known = unknown["name"], ", ".join(into.__struct_fields__)
    return InvalidInputError(f"There is no field {name!r}.", field=name, remedy=f"Known: {known}.")


def _require_json(content_type: str | None) -> None:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not _JSON_TYPE.fullmatch(kind):
        given = f"{kind!r}" if kind else "missing"
        raise UnsupportedMediaTypeError(
            f"The content type of the body is {given}.", remedy="Send `Content-Type: application/json`."
        )
