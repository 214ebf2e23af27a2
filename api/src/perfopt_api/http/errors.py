"""The one place where errors become HTTP: each is a problem document."""

import secrets
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError, PerfoptError
from perfopt_api.errors import OverloadedError, RateLimitedError
from perfopt_api.http.problems import KINDS, MEDIA_TYPE, TYPE_PREFIX, FieldError, Problem

RETRY_AFTER_SECONDS = 5
_BY_STATUS = {
    400: "invalid_input",
    401: "unauthorized",
    404: "no_such_path",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "payload_too_large",
    415: "unsupported_media_type",
}
_ALLOWED: dict[str, tuple[str, ...]] = {
    "optimization_type": tuple(OptimizationType),
    "optimization_types": tuple(OptimizationType),
    "status": tuple(OptimizationStatus),
    "include": ("superseded",),
    "priority": ("interactive", "fleet"),
    "mode": ("direct", "canary", "dry_run", "export"),
}
_log = structlog.get_logger("perfopt_api.http")


class NotAcceptableError(PerfoptError):
    """The caller accepts nothing that the API can answer with. HTTP 406."""

    code = "not_acceptable"


class UnsupportedMediaTypeError(PerfoptError):
    """The body is not JSON by its content type. HTTP 415."""

    code = "unsupported_media_type"


class MalformedJsonError(InvalidInputError):
    """The body cannot be parsed. HTTP 400."""

    code = "malformed_json"


class IdempotencyKeyReusedError(ConflictError):
    """The key was used with another body. HTTP 422 by draft-ietf-httpapi-idempotency-key-header."""

    code = "idempotency_key_reused"


def allowed_values(field: str) -> str | None:
    """Returns "One of A, B." for a field or parameter that takes one of a few values."""
    values = _ALLOWED.get(field.split("[")[0])
    return f"One of {', '.join(values)}." if values else None


def problem_response(
    request: Request[Any, Any, Any], code: str, detail: str, **more: Any
) -> Response[Problem]:
    """Builds the response of a problem.

    Args:
        request: what is answered.
        code: a key of KINDS.
        detail: what is wrong this time.
        more: further fields of Problem, and `headers`.
    """
    kind = KINDS[code]
    headers: dict[str, str] = more.pop("headers", {})
    if kind.status in (429, 503):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS), **headers}
    problem = Problem(
        type=f"{TYPE_PREFIX}{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.scope["path"],
        **more,
    )
    return Response(problem, status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


def handle_perfopt_error(request: Request[Any, Any, Any], error: PerfoptError) -> Response[Problem]:
    """Answers an error that was raised on purpose; the nearest kind in its ancestry decides."""
    codes = (base.__dict__.get("code", "") for base in type(error).__mro__)
    code = next((code for code in codes if code in KINDS), None)
    if code is None:
        return handle_unexpected(request, error)
    at_fault = FieldError(field=error.field or "", message=error.message, remedy=error.remedy)
    errors = (at_fault,) if error.field else ()
    candidates = error.candidates if isinstance(error, NotFoundError) else ()
    headers = {"WWW-Authenticate": "Bearer"} if code == "unauthorized" else {}
    if isinstance(error, RateLimitedError | OverloadedError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem_response(request, code, str(error), errors=errors, candidates=candidates, headers=headers)


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Answers what the framework found wrong: path, method, size, parameters."""
    if isinstance(error, ValidationException):
        return _invalid_parameters(request, error)
    code = _BY_STATUS.get(error.status_code)
    if code is None:
        return handle_unexpected(request, error)
    return problem_response(
        request, code, _framework_detail(request, code), headers=dict(error.headers or {})
    )


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answers a fault of ours: an id for the caller, the stack trace for the log."""
    error_id = secrets.token_hex(8)
    _log.error("unexpected_error", error_id=error_id, path=request.scope["path"], exc_info=error)
    detail = f"Internal error. The log of the service has the details under error_id {error_id}."
    return problem_response(request, "internal_error", detail, error_id=error_id)


def _framework_detail(request: Request[Any, Any, Any], code: str) -> str:
    method, path = request.scope["method"], request.scope["path"]
    if code == "no_such_path":
        return f"There is nothing at {path}. The paths of the API are listed at /docs and /openapi.json."
    if code == "method_not_allowed":
        return f"{path} does not take {method}. The header Allow lists what it takes."
    if code == "payload_too_large":
        return f"The body is over {request.app.request_max_body_size} bytes. Send a smaller one."
    return KINDS[code].meaning


def _invalid_parameters(request: Request[Any, Any, Any], error: ValidationException) -> Response[Problem]:
    extra = error.extra if isinstance(error.extra, list) else []
    errors = tuple(
        FieldError(
            field=str(item.get("key", "request")),
            message=f"{item.get('message', error.detail)}.",
            remedy=allowed_values(str(item.get("key", ""))),
        )
        for item in extra
        if isinstance(item, dict)
    )
    detail = " ".join(f"{e.field}: {e.message}{f' {e.remedy}' if e.remedy else ''}" for e in errors) or str(
        error.detail
    )
    return problem_response(request, "invalid_input", detail, errors=errors)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    PerfoptError: handle_perfopt_error,
    HTTPException: handle_http_exception,
    Exception: handle_unexpected,
}
