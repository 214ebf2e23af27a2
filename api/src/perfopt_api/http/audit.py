"""Who did what, when and why: the audit, for reading and for export."""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt.domain.period import parse_instant
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.apply_port import AuditEntry

_COLUMNS = AuditEntry.__struct_fields__


@get(
    "/audit",
    operation_id="getAudit",
    summary="Who did what, when and why",
    tags=["Changes"],
    opt={"media_types": ("text/csv", "application/jsonl")},
)
async def get_audit(
    ports: NamedDependency[ApiPorts],
    subject: Annotated[
        str | None, QueryParameter(description="Only of this workload or scope.", max_length=1000)
    ] = None,
    since: Annotated[
        str | None,
        QueryParameter(description="Only from this instant on, such as 2026-11-30T08:00:00Z.", max_length=50),
    ] = None,
    after: Annotated[int, QueryParameter(ge=0, le=2**53, description="Only entries of a higher id.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=10_000, description="Entries at most.")] = 500,
    format: Annotated[  # noqa: A002  the name of the parameter
        Literal["json", "jsonl", "csv"], QueryParameter(description="`jsonl` and `csv` are for export.")
    ] = "json",
) -> Response[list[AuditEntry]]:
    """Lists entries oldest first. For the next page give the last id as `after`."""
    require_plain(subject, "subject")
    begin = None if since is None else parse_instant(since, field="since")
    entries = await ports.applies.audit_log(subject=subject, since=begin, after=after, limit=limit)
    if format == "json":
        return Response(list(entries))
    if format == "jsonl":
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        return Response(lines, media_type="application/jsonl")  # type: ignore[arg-type]  # an export
    return Response(_csv(entries), media_type="text/csv")  # type: ignore[arg-type]  # an export


def _csv(entries: Sequence[AuditEntry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in entries:
        plain = msgspec.to_builtins(entry)
        writer.writerow([_cell(plain[name]) for name in _COLUMNS])
    return text.getvalue()


def _cell(value: object) -> object:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value
