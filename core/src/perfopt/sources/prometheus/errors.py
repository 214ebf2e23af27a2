"""What a refusal of a Prometheus API means to the one who has to put it right."""

import msgspec

from perfopt.errors import SourceError


class _Refusal(msgspec.Struct):
    error: str = ""


def refusal(server: str, status: int, content_type: str, body: bytes, asked: str) -> SourceError:
    """Returns the error for an answer that repeating the request would not change."""
    said = _said(body)
    if "html" in content_type and status in (200, 400, 422):
        return SourceError(
            f"{server} answered with a web page, not with the Prometheus API.",
            field="url",
            remedy="Check the URL and its base path; a login page or proxy may stand in front.",
        )
    if status in (400, 422):
        return _rejected(server, status, said, asked)
    what, field, remedy = _MEANING.get(status, _otherwise(status))
    return SourceError(
        f"{server} {what} (HTTP {status}{f': {said}' if said else ''}).", field=field, remedy=remedy
    )


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
        return ("sends us elsewhere", "url", "Set `url` to where it leads; redirects are not followed.")
    return ("failed", "source", "Look into its log.")


def _said(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).error[:400]
    except msgspec.DecodeError:
        return "" if body.lstrip()[:1] == b"<" else body[:200].decode("utf-8", "replace").strip()


def _rejected(server: str, status: int, said: str, asked: str) -> SourceError:
    query = asked if len(asked) <= 200 else f"{asked[:200]}..."
    if any(word in said for word in ("too many", "limit", "exceed", "maximum")):
        remedy = "Ask for a shorter period, lower `workloads_per_query`, or raise the server's limit."
    else:
        remedy = "If the query is from the installation's own catalogue, correct it there."
    return SourceError(
        f"{server} rejected a query (HTTP {status}: {said or 'no reason given'}). The query: {query}",
        field="source",
        remedy=remedy,
    )
