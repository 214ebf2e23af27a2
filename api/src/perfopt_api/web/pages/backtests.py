"""Backtests: start one on the own services, follow it, and keep its report."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from perfopt.domain.enums import OptimizationType
from perfopt.errors import InvalidInputError, NotFoundError
from perfopt_api.http.body import require_plain
from perfopt_api.store.backtests import BacktestRequest, BacktestRun
from perfopt_api.store.dashboard import PAGE
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import CSV_ROWS, HEADERS, csv_answer, page

# A report brings its styles along; it may run no script and load nothing.
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_COLUMNS = (
    "run_id", "created_at", "completed_at", "status", "requester", "source", "types", "match", "policies",
    "history", "validity", "origins", "closed_loop", "progress", "error",
)  # fmt: skip


@get("/backtests", include_in_schema=False)
async def backtests(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    number: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
    form: Annotated[Literal["html", "csv"], QueryParameter(name="format")] = "html",
) -> Response[Any]:
    """Lists backtests, newest first, with the form that starts one."""
    if form == "csv":
        listed = await web.backtests.list(page=1, limit=CSV_ROWS)
        return csv_answer("backtests", map(_csv_row, listed), _COLUMNS)
    runs = await web.backtests.list(page=number, limit=PAGE)
    return page(
        request,
        "backtests.html",
        runs=runs[:PAGE],
        more=len(runs) > PAGE,
        number=number,
        sources=tuple(web.api.config.sources),
        default_source=web.api.config.default_source,
        types=tuple(OptimizationType),
    )


def _csv_row(run: BacktestRun) -> dict[str, Any]:
    error = None if run.error is None else run.error.message
    return {**msgspec.structs.asdict(run.request), **msgspec.structs.asdict(run), "error": error}


@post("/backtests", status_code=303, include_in_schema=False)
async def start(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Queues a backtest."""
    form = await request.form()
    texts = {
        name: str(form.get(name, "")).strip() or None for name in ("source", "match", "validity", "origins")
    }
    given = {
        **texts,
        "types": [str(name) for name in form.getall("type", [])],
        "policies": [name for part in str(form.get("policies", "")).split(",") if (name := part.strip())],
        "closed_loop": form.get("closed_loop") == "on",
        "history": str(form.get("history", "")).strip() or "14d",
    }
    try:
        order = msgspec.convert(given, BacktestRequest)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"The form is wrong: {error}.", remedy="Correct it.") from error
    if order.source is not None and order.source not in web.api.config.sources:
        raise InvalidInputError(
            f"There is no source {order.source!r}.", field="source", remedy="Choose a configured one."
        )
    run_id = await web.backtests.start(order, request.scope.get("user"))
    return Redirect(f"/ui/backtests/{run_id}", status_code=303)


@get("/backtests/{run_id:str}", include_in_schema=False)
async def backtest(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], run_id: FromPath[str]
) -> Response[Any]:
    """Shows a backtest: its progress while it runs, and how the policies compare once it is done."""
    require_plain(run_id, "run_id")
    return page(request, "backtest.html", **await _context(web, run_id))


@get("/backtests/{run_id:str}/progress", include_in_schema=False)
async def progress(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], run_id: FromPath[str]
) -> Response[Any]:
    """Returns the part of the page that changes while it runs."""
    require_plain(run_id, "run_id")
    return page(request, "backtestrun.html", **await _context(web, run_id))


@get("/backtests/{run_id:str}/report", include_in_schema=False)
async def report(web: NamedDependency[WebPorts], run_id: FromPath[str]) -> Response[str]:
    """Returns the report as one page, to read or to keep."""
    require_plain(run_id, "run_id")
    text = await web.backtests.report(run_id)
    if text is None:
        raise NotFoundError(
            f"The backtest {run_id!r} has no report.", remedy="Wait until it is done, or start it again."
        )
    headers = HEADERS | {"Content-Security-Policy": _REPORT_POLICY}
    return Response(text, media_type="text/html", headers=headers)


@get("/backtests/{run_id:str}/result.json", include_in_schema=False)
async def result(web: NamedDependency[WebPorts], run_id: FromPath[str]) -> Response[Any]:
    """Returns the figures, as `perfopt backtest --format json` prints them."""
    require_plain(run_id, "run_id")
    stored = (await web.backtests.get(run_id)).result
    if stored is None:
        raise NotFoundError(f"The backtest {run_id!r} has no figures yet.", remedy="Wait until it is done.")
    return Response(stored, headers=HEADERS, media_type="application/json")


@post("/backtests/{run_id:str}/cancel", status_code=303, include_in_schema=False)
async def cancel(web: NamedDependency[WebPorts], run_id: FromPath[str]) -> Redirect:
    """Stops a backtest that waits or runs."""
    require_plain(run_id, "run_id")
    await web.backtests.cancel(run_id)
    return Redirect(f"/ui/backtests/{run_id}", status_code=303)


async def _context(web: WebPorts, run_id: str) -> dict[str, Any]:
    run = await web.backtests.get(run_id)
    shown = None if run.result is None else await asyncio.to_thread(figures_of, run)
    return {"run": run, "running": run.status in ("QUEUED", "RUNNING"), "shown": shown}


def figures_of(run: BacktestRun) -> dict[str, Any]:
    """Returns the figures in the words and numbers of the command line."""
    return _loop_figures(run) if run.request.closed_loop else _window_figures(run)


def _window_figures(run: BacktestRun) -> dict[str, Any]:
    from perfopt.backtest import BacktestResult
    from perfopt.cli.output.backtest import HEADER, LEGEND, policy_row

    result = msgspec.convert(run.result, BacktestResult, strict=False)
    return {
        "result": result,
        "header": [name.capitalize() for name in HEADER],
        "rows": [policy_row(one) for one in result.policies],
        "legend": LEGEND,
    }


def _loop_figures(run: BacktestRun) -> dict[str, Any]:
    from perfopt.backtest.loop import LoopResult
    from perfopt.cli.output.closed_loop import LOOP_HEADER, LOOP_LEGEND, loop_row

    result = msgspec.convert(run.result, LoopResult, strict=False)
    return {
        "result": result,
        "header": [name.capitalize() for name in LOOP_HEADER],
        "rows": [loop_row(one) for one in result.policies],
        "legend": f"{result.definition.capitalize()}. {LOOP_LEGEND}",
    }
