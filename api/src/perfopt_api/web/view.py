"""How pages are rendered: the frame, numbers and instants in the words of the CLI, and lists as CSV."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import Request, Response
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.template import TemplateConfig
from markupsafe import Markup, escape

from perfopt.cli.output.layout import MARKS, cost_change
from perfopt.report.changes import short_type
from perfopt_api.auth.roles import OPEN, Principal, Right
from perfopt_api.http.rules import RULES, everywhere, scope_namespaces
from perfopt_api.store.mapping import workload_parts
from perfopt_api.web.session import Session, form_token, is_secure, new_session, session_cookie

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STATUS_TEXTS = {
    "change": "change recommended",
    "approval": "needs approval",
    "applied": "change applied",
    "rolled_back": "change rolled back",
    "refused": "refused",
    "no_change": "no change needed",
    "abstained": "abstained",
    "failed": "failed",
    "expired": "expired: analyse again",
}
NAVIGATION = (
    ("/ui", "Overview"),
    ("/ui/workloads", "Workloads"),
    ("/ui/approvals", "Approvals"),
    ("/ui/jobs", "Jobs"),
    ("/ui/accuracy", "Accuracy"),
    ("/ui/backtests", "Backtests"),
    ("/ui/fleet", "Fleet"),
    ("/ui/policies", "Policies"),
    ("/ui/audit", "Audit"),
    ("/ui/doctor", "Doctor"),
)
CSV_ROWS = 10_000
_SPECIAL = re.compile(r"`[^`]+`|\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    """Returns the templates; all that they print is escaped, and a name that is missing is an error."""
    folder = Path(str(files("perfopt_api.web") / "templates"))
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=select_autoescape(default=True), undefined=StrictUndefined
    )
    environment.filters |= {
        "instant": instant,
        "to_the_second": to_the_second,
        "prose": prose,
        "money": money,
        "share": share,
        "short_type": short_type,
        "status_text": lambda code: STATUS_TEXTS.get(code, code),
        "query": lambda values: urlencode({k: v for k, v in values.items() if v not in ("", None)}),
        "value": value_text,
        "written": written,
        "namespace": lambda workload: workload_parts(workload)[1],
    }
    environment.globals |= {"cost_change": cost_change, "MARKS": MARKS}
    for name in environment.list_templates():
        environment.get_template(name)  # compiled now, so that no first request waits for it
    return TemplateConfig(instance=JinjaTemplateEngine(engine_instance=environment))


def page(
    request: Request[Any, Any, Any], template: str, *, http_status: int | None = 200, **context: Any
) -> Response[Any]:
    """Renders a page, and begins the session that its forms need where a caller has none yet.

    Such a caller is everybody where the API is open, and whose token a proxy adds to the request.
    """
    settings, auth = request.app.state.settings, request.app.state.auth
    session: Session | None = request.scope.get("state", {}).get("session")
    who: Principal | None = request.scope.get("state", {}).get("principal")
    cookies = []
    if session is None and (who is not None or not auth.required):
        session, text = new_session(settings, who or OPEN, request.app.state.now())
        cookies.append(session_cookie(settings, text, secure=is_secure(settings, request.scope["scheme"])))
    frame = {
        "path": request.scope["path"],
        "principal": request.scope.get("user"),
        "signed_in": session is not None and session.name is not None,
        "form_token": form_token(settings, session) if session is not None else "",
        "may": partial(_may, who or OPEN),
        "may_within": partial(_may_within, who or OPEN),
        "may_open": partial(_may_open, who or OPEN),
        "navigation": [(path, name) for path, name in NAVIGATION if _may_open(who or OPEN, path)],
        "grafana_url": settings.grafana_url,
    }
    return Template(
        template, context=frame | context, status_code=http_status or 500, headers=HEADERS, cookies=cookies
    )


def _may(who: Principal, right: str, *namespaces: str) -> bool:
    """Returns whether somebody has a right in all these namespaces; without any, in some namespace."""
    allowed = who.namespaces(Right(right))
    return allowed is None or (set(namespaces) <= allowed if namespaces else bool(allowed))


def _may_within(who: Principal, right: str, scope: str) -> bool:
    """Returns whether somebody has a right in the whole of a scope; `*` is everything."""
    allowed, needed = who.namespaces(Right(right)), scope_namespaces(scope)
    return allowed is None or (needed is not None and allowed.issuperset(needed))


def _may_open(who: Principal, path: str) -> bool:
    """Returns whether somebody may see a page, by the rule of its route."""
    rule = RULES[f"GET {path}"]
    allowed = None if rule.right is None else who.namespaces(rule.right)
    return allowed is None or (bool(allowed) and rule.namespaces is not everywhere)


def csv_answer(name: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Response[str]:
    """Returns a list as CSV; text that a spreadsheet would take for a formula is marked as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(stream.getvalue(), media_type="text/csv", headers=headers)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(str(_cell(part)) for part in value)
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def instant(at: datetime | None) -> Markup:
    """Prints an instant in UTC; a script shows it in the reader's zone."""
    if at is None:
        return Markup("-")
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M}Z"
    )


def to_the_second(at: datetime) -> Markup:
    """Prints an instant as `instant` does, with its seconds."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-seconds>{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}Z"
    )


def prose(text: str) -> Markup:
    """Prints a sentence: the instants in it as `instant` does, and what is between backticks as code."""
    parts, last = [], 0
    for match in _SPECIAL.finditer(text):
        parts += [escape(text[last : match.start()]), _special(match[0])]
        last = match.end()
    return Markup().join([*parts, escape(text[last:])])


def _special(text: str) -> Markup:
    if text.startswith("`"):
        return Markup("<code>{}</code>").format(text[1:-1])
    try:
        return instant(datetime.fromisoformat(text))
    except ValueError:  # such as the 31st of June
        return escape(text)


def money(amount: float | None, currency: str = "") -> str:
    """Prints an amount with its currency, as tables of the CLI do."""
    return "-" if amount is None else f"{amount:,.2f} {currency}".rstrip()


def share(part: float | None) -> str:
    """Prints a share in percent."""
    return "-" if part is None else f"{100 * part:.0f} %"


def value_text(value: Any) -> str:
    """Prints a value of a state map in a table."""
    if value is None:
        return "-"
    return f"{len(value)} entries" if isinstance(value, list | dict) else str(value)


def written(value: Any) -> str:
    """Prints a value of the configuration or of a record, whatever its shape, in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{name}: {written(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
