"""What a refusal of a Prometheus API means to the one who has to put it right."""

import re

import msgspec

from perfopt.errors import QueryTooLargeError, SourceError

_SHOWN = 400
_TOO_LARGE = re.compile(
    r"too many (?:samples|series|points|chunks|bytes|data)|too long query|too large|too long|timed? ?out"
    r"|exceed|maximum|max-|maxsamples|maxunique|maxseries|limit|deadline",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(r"query.*timed? ?out|timed? ?out.*query", re.IGNORECASE | re.DOTALL)
_UNSIGNED = re.compile(
    r"missing authentication token|security token|sigv4|signature|not authorized to perform: aps",
    re.IGNORECASE,
)


class _ErrorAnswer(msgspec.Struct):
    error: str | dict[str, object] = ""
    message: str = ""


def is_timed_out(body: bytes) -> bool:
    """Returns whether a server that is up gave a query up for the time that it takes."""
    return _TIMED_OUT.search(_reason(body)) is not None


def refusal(server: str, status: int, content_type: str, body: bytes, query: str) -> SourceError:
    """Returns the error for an answer that repeating the request would not change."""
    reason = _reason(body)
    if "html" in content_type and status in (200, 400, 422):
        return SourceError(
            f"{server} answered with a web page, not with the Prometheus API.",
            field="url",
            remedy="Check the URL and its base path; a login page or proxy may stand in front.",
        )
    if status in (400, 422) or (status == 503 and is_timed_out(body)):
        return _rejected(server, status, reason, query)
    what, field, remedy = _MEANING.get(status, _otherwise(status))
    if status in (401, 403) and _UNSIGNED.search(reason):
        field = "url"
        remedy = "Requests to Amazon's managed Prometheus must be signed: set `url` to a SigV4 proxy."
    text = f"{server} {what} (HTTP {status}{f': {_shortened(reason)}' if reason else ''})."
    kind = QueryTooLargeError if status == 413 else SourceError
    return kind(text, field=field, remedy=remedy)


_MEANING = {
    401: (
        "refused the credentials",
        "bearer_token",
        "Set `bearer_token`, or `username` and `password`, of the source.",
    ),
    403: (
        "does not let these credentials read metrics",
        "bearer_token",
        "Ask for read access, or set the tenant header (X-Scope-OrgID) in `headers`.",
    ),
    404: (
        "has no Prometheus API there",
        "url",
        "Add the base path to `url`, for example /prometheus for Mimir.",
    ),
    413: ("finds the query too long", "workloads_per_query", "Lower `workloads_per_query` of the source."),
}


def _otherwise(status: int) -> tuple[str, str, str]:
    if 300 <= status < 400:
        return ("redirects", "url", "Set `url` to where it leads; redirects are not followed.")
    return ("failed", "source", "Look into its log.")


def _reason(body: bytes) -> str:
    """Returns what a server gives as the reason, in the forms of Prometheus, Google and Amazon."""
    try:
        answer = msgspec.json.decode(body, type=_ErrorAnswer)
    except msgspec.DecodeError:
        return "" if body.lstrip()[:1] == b"<" else body[:4000].decode("utf-8", "replace").strip()
    error = answer.error if isinstance(answer.error, str) else str(answer.error.get("message", ""))
    return error or answer.message


def _shortened(text: str) -> str:
    """Returns the begin and the end of a text: servers repeat the query before they say what is wrong."""
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN // 4]} ... {text[-3 * _SHOWN // 4 :]}"


def _rejected(server: str, status: int, reason: str, asked: str) -> SourceError:
    query = asked if len(asked) <= 200 else f"{asked[:200]}..."
    shown = _shortened(reason) or "no reason given"
    text = f"{server} rejected a query (HTTP {status}: {shown}). The query: {query}"
    if _TOO_LARGE.search(reason):
        remedy = "Ask for a shorter period, lower `max_query_bytes`, or raise the server's limit."
        return QueryTooLargeError(text, field="source", remedy=remedy)
    return SourceError(
        text,
        field="source",
        remedy="If the query is from the installation's own catalogue, correct it there.",
    )
