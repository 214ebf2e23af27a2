"""Errors as the API server reports them: a `Status` object with reason, message, details and causes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_INVALID = {
    "Required": "FieldValueRequired",
    "Invalid": "FieldValueInvalid",
    "Duplicate": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "NotSupported": "FieldValueNotSupported",
    "TooLong": "FieldValueTooLong",
    "TypeInvalid": "FieldValueTypeInvalid",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why an object is invalid: `kind` is a key of the reasons of field errors."""

    kind: str
    field: str
    message: str

    def json(self) -> Json:
        """As it stands in `details.causes`."""
        return {"reason": _INVALID[self.kind], "message": self.message, "field": self.field}


@dataclass
class StatusError(Exception):
    """An answer that is an error; `text` is a plain-text body in place of a `Status`."""

    code: int
    reason: str
    message: str
    details: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    text: str | None = None

    def body(self) -> Json:
        """The `Status` object."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def success(details: Json | None = None, code: int = 0) -> Json:
    """A `Status` that reports success."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        body["details"] = details
    return body | ({"code": code} if code else {})


def details(name: str, group: str, kind: str) -> Json:
    """What an error is about; empty parts are left out."""
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def qualified(plural: str, group: str) -> str:
    """`deployments.apps`, or `pods` in the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> StatusError:
    """404 for an object."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, details(name, group, plural))


def unknown_resource() -> StatusError:
    """404 for a resource that a known group does not have."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def no_such_path() -> StatusError:
    """404 for a path, in plain text."""
    headers = {"X-Content-Type-Options": "nosniff"}
    return StatusError(404, "", "", headers=headers, text="404 page not found\n")


def no_such_schema() -> StatusError:
    """404 for a schema, without a word."""
    return StatusError(404, "", "", text="")


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """409 for a create."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> StatusError:
    """409 for a write against a version that is not the current one."""
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details(name, group, plural))


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def internal(message: str) -> StatusError:
    """500; without a reason, as the server answers it."""
    return StatusError(500, "", message)


def forbidden(plural: str, group: str, name: str, why: str, causes: Sequence[Json] = ()) -> StatusError:
    """403 by admission or authorization."""
    about = f'{qualified(plural, group)} "{name}"' if name else qualified(plural, group)
    described = details(name, group, plural) | ({"causes": list(causes)} if causes else {})
    return StatusError(403, "Forbidden", f"{about} is forbidden: {why}", described)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with all causes."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    described = details(name, group, kind) | {"causes": [cause.json() for cause in causes]}
    return StatusError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', described)


def rejected() -> StatusError:
    """422 for a JSON patch that does not fit; the server names neither operation nor path."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def method_not_allowed() -> StatusError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def unsupported_media_type(accepted: Sequence[str] = ()) -> StatusError:
    """415; with the accepted types where the server names them."""
    if not accepted:
        return StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    message = "the body of the request was in an unknown format - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", message + ", ".join(accepted))
