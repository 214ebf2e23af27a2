"""RFC 9457 problem documents."""

import msgspec

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong with one part of the request.

    Attributes:
        field: its dotted path in the body, or the name of the parameter or header.
        remedy: what to do about it, if known.
    """

    field: str
    message: str
    remedy: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457).

    Attributes:
        type: URI reference that identifies the kind of problem; it can be opened.
        title: what kind of problem it is, the same each time.
        status: the HTTP status.
        detail: what is wrong this time, and what to do about it.
        instance: the path that was asked for.
        errors: the parts of the request that are at fault.
        candidates: names that were perhaps meant.
        error_id: finds an internal error in the log.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldError, ...] = ()
    candidates: tuple[str, ...] = ()
    error_id: str | None = None


class ProblemKind(msgspec.Struct, frozen=True):
    """A kind of problem: its HTTP status, its title, and what it means to the caller."""

    status: int
    title: str
    meaning: str


KINDS: dict[str, ProblemKind] = {
    "invalid_input": ProblemKind(
        400, "Invalid request", "A field, parameter or header is wrong: correct it."
    ),
    "malformed_json": ProblemKind(400, "Malformed JSON", "The body cannot be parsed as JSON."),
    "unauthorized": ProblemKind(401, "Not authorized", "Send a token as `Authorization: Bearer`."),
    "forbidden": ProblemKind(
        403, "Forbidden", "Your role does not allow it, or not in this namespace: ask for another role."
    ),
    "not_found": ProblemKind(404, "Not found", "What was named does not exist."),
    "no_such_path": ProblemKind(404, "No such path", "The API has no such path; see /docs."),
    "method_not_allowed": ProblemKind(
        405, "Method not allowed", "The header Allow lists the methods of this path."
    ),
    "not_acceptable": ProblemKind(
        406, "Not acceptable", "The API answers in JSON only: accept application/json."
    ),
    "request_timeout": ProblemKind(
        408, "Request timeout", "The body did not arrive in time: send it at once."
    ),
    "ambiguous": ProblemKind(
        409, "Ambiguous name", "Several things match: name one of the candidates in full."
    ),
    "conflict": ProblemKind(
        409, "Conflict", "The request is right, but the present state does not allow it."
    ),
    "executor_not_configured": ProblemKind(
        409, "No executor is configured", "This service may not change a cluster: use dry_run or export."
    ),
    "apply_in_progress": ProblemKind(
        409, "Being applied", "A job applies the recommendation already: look at that job."
    ),
    "outdated": ProblemKind(
        409,
        "Outdated",
        "The recommendation no longer holds: analyse again, or force it.",
    ),
    "unsupported_kind": ProblemKind(
        409, "Unsupported kind", "No patch can be written for this kind of workload."
    ),
    "payload_too_large": ProblemKind(413, "Payload too large", "The body is over the configured limit."),
    "unsupported_media_type": ProblemKind(
        415, "Unsupported media type", "Send the body as application/json."
    ),
    "idempotency_key_reused": ProblemKind(
        422, "Idempotency-Key was used before", "The key came with another body before: take a new key."
    ),
    "quota_exceeded": ProblemKind(
        429, "Quota exceeded", "Too many of your jobs are not finished: try again when some are."
    ),
    "rate_limited": ProblemKind(
        429, "Too many requests", "You ask more often than you may: wait, and ask less often."
    ),
    "internal_error": ProblemKind(
        500, "Internal error", "A fault of this service; its log has the error_id."
    ),
    "source_error": ProblemKind(
        502, "Metric source failed", "The metric source refused or answered nonsense."
    ),
    "source_unavailable": ProblemKind(
        503, "Metric source unavailable", "The metric source is down: try again later."
    ),
    "unavailable": ProblemKind(
        503, "Service unavailable", "A part of the service is not reachable: try again later."
    ),
    "overloaded": ProblemKind(
        429, "Overloaded", "The service has more to do than it can: try again a little later."
    ),
    "no_data": ProblemKind(422, "No data", "The source holds nothing for the workload in the period."),
}
