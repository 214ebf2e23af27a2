"""Requests and answers, free of any connection; bodies and options of requests."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import yaml

from perfopt_api.simulated.kubernetes.status import (
    Cause,
    Json,
    StatusError,
    bad_request,
    invalid,
    unsupported_media_type,
)

_BODIES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_LONGEST_MANAGER = 128


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(
        cls, method: str, target: str, headers: Mapping[str, str] | None = None, body: Any = b""
    ) -> "Request":
        """Makes a request of a path with its query and a body of bytes, text or JSON."""
        parts = urlsplit(target)
        raw = (
            body
            if isinstance(body, bytes)
            else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        return cls(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), lower, raw)

    @property
    def content_type(self) -> str:
        """Without parameters."""
        return self.headers.get("content-type", "application/json").partition(";")[0].strip()

    def flag(self, name: str) -> bool:
        """Whether an option is set to true."""
        return self.query.get(name, "") in ("true", "1", "True")


class Stream(Protocol):
    """Events that come over time: a watch."""

    def poll(self, now: float) -> list[Json]:
        """The events since the last call."""
        ...

    def done(self, now: float) -> bool:
        """Whether it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """One answer: JSON, plain text or a stream."""

    status: int = 200
    body: Json | None = None
    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    stream: Stream | None = None

    @classmethod
    def of_error(cls, error: StatusError) -> "Response":
        """The answer that an error is."""
        headers = tuple(error.headers.items())
        if error.text is not None:
            return cls(error.code, None, headers, error.text)
        return cls(error.code, error.body(), headers)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of a write.

    Attributes:
        manager: who writes, for field ownership.
        validation: Strict, Warn or Ignore: what unknown fields lead to.
    """

    manager: str
    dry_run: bool = False
    force: bool = False
    validation: str = "Warn"

    @classmethod
    def read(cls, request: Request, kind: str) -> "WriteOptions":
        """Reads the options of a request; `kind` is that of the options, such as PatchOptions.

        Raises:
            StatusError: 422 for a value that is not allowed.
        """
        query = request.query
        apply = request.content_type.startswith("application/apply-patch")
        causes = list(_option_causes(query, apply=apply, patch=kind == "PatchOptions"))
        if causes:
            raise invalid(kind, "meta.k8s.io", "", causes)
        manager = query.get("fieldManager") or request.headers.get("user-agent", "unknown").partition("/")[0]
        return cls(
            manager,
            query.get("dryRun") == "All",
            request.flag("force"),
            query.get("fieldValidation") or "Warn",
        )


def _option_causes(query: Mapping[str, str], *, apply: bool, patch: bool) -> Iterator[Cause]:
    manager = query.get("fieldManager", "")
    if patch and apply and not manager:
        yield Cause("Required", "fieldManager", "Required value: is required for apply patch")
    if patch and not apply and "force" in query:
        yield Cause("Forbidden", "force", "Forbidden: may not be specified for non-apply patch")
    if len(manager) > _LONGEST_MANAGER:
        yield Cause("TooLong", "fieldManager", f"Too long: may not be more than {_LONGEST_MANAGER} bytes")
    if query.get("dryRun") not in (None, "All"):
        text = f'Unsupported value: ["{query["dryRun"]}"]: supported values: "All"'
        yield Cause("NotSupported", "dryRun", text)
    if query.get("fieldValidation", "") not in ("", "Ignore", "Strict", "Warn"):
        text = f'Unsupported value: "{query["fieldValidation"]}": supported values: '
        yield Cause("NotSupported", "fieldValidation", text + '"", "Ignore", "Strict", "Warn"')


class Repeated(dict[str, Any]):
    """A JSON object in which names stood twice; the last value holds."""

    names: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    parsed = Repeated(plain)
    names = [name for name, _ in pairs]
    parsed.names = tuple(sorted({name for name in names if names.count(name) > 1}))
    return parsed


def repeated(value: Any, path: str = "") -> Iterator[str]:
    """Paths of names that stood twice."""
    if isinstance(value, Repeated):
        yield from (f"{path}.{name}" if path else name for name in value.names)
    if isinstance(value, dict):
        for name, part in value.items():
            yield from repeated(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for n, part in enumerate(value):
            yield from repeated(part, f"{path}[{n}]")


def read_object(request: Request, kind: str) -> Json:
    """The object in a body, JSON or YAML.

    Raises:
        StatusError: 400 for what is none, 415 for another media type.
    """
    content_type = request.content_type
    if content_type not in _BODIES[:2]:
        raise unsupported_media_type(_BODIES)
    try:
        return load(request.body, yaml_too=content_type == "application/yaml")
    except ValueError as error:
        shown = request.body.decode(errors="replace") or "<empty>"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"json parse error: {_json_error(request.body, error)} ({shown})"
        ) from error


def _json_error(body: bytes, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError) and error.pos < len(body.rstrip()):
        return f"invalid character '{chr(body[error.pos])}' looking for beginning of value"
    return "unexpected end of JSON input"


def load(body: bytes, *, yaml_too: bool = False) -> Json:
    """Parses an object.

    Raises:
        ValueError: it is none.
    """
    if yaml_too:
        try:
            value = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    else:
        value = json.loads(body, object_pairs_hook=_pairs)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def not_acceptable() -> StatusError:
    """406."""
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(_BODIES)}"
    return StatusError(406, "NotAcceptable", message, {})
