"""The pages put together: routes, files, and errors as pages."""

from importlib.resources import files
from typing import Any

from litestar import Request, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from perfopt.errors import NotFoundError, PerfoptError
from perfopt_api.http.auth import IDENTIFY
from perfopt_api.http.errors import handle_http_exception, handle_perfopt_error, handle_unexpected
from perfopt_api.http.parameters import require_known_parameters
from perfopt_api.web.pages import (
    approvals,
    backtests,
    fleet,
    health,
    jobs,
    login,
    overview,
    policies,
    recommendation,
    records,
    workloads,
)
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.session import (
    ForgedFormError,
    LoginRequiredError,
    identify_visitor,
    login_path,
    require_own_form,
)
from perfopt_api.web.view import page

_ASSETS = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "uplot.min.js": "text/javascript",
    "uplot.css": "text/css",
}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}


def dashboard(web: WebPorts) -> Router:
    """Returns the router of all pages."""
    inside = Router(
        "/",
        route_handlers=[
            overview.overview,
            overview.freeze,
            overview.unfreeze,
            workloads.workloads,
            workloads.analyse,
            workloads.analyse_all,
            workloads.queue,
            workloads.workload,
            workloads.workload_recommendations,
            workloads.workload_changes,
            workloads.series,
            workloads.series_json,
            recommendation.recommendation,
            recommendation.windows,
            recommendation.plan,
            recommendation.apply,
            recommendation.commit,
            recommendation.preflight,
            recommendation.refuse,
            approvals.approvals,
            backtests.backtests,
            backtests.start,
            backtests.backtest,
            backtests.progress,
            backtests.report,
            backtests.result,
            backtests.cancel,
            fleet.fleet,
            policies.policies,
            policies.check,
            policies.restore,
            jobs.jobs,
            jobs.job,
            jobs.timeline,
            jobs.events,
            jobs.approve,
            jobs.act,
            records.accuracy,
            records.audit,
            health.doctor,
            health.doctor_plugins,
            login.logout,
            missing,
        ],
        before_request=_check_request,
    )
    return Router(
        "/ui",
        route_handlers=[
            inside,
            login.login_form,
            login.login,
            login.provider_login,
            login.provider_answer,
            *(_asset(name) for name in _ASSETS),
        ],
        opt={IDENTIFY: identify_visitor},
        dependencies={"web": Provide(lambda: web, sync_to_thread=False)},
        exception_handlers={
            PerfoptError: _known_error,
            HTTPException: _framework_error,
            Exception: _unknown_error,
        },
    )


@get("/{missing:path}", include_in_schema=False)
async def missing() -> None:
    """Answers an address that no page has by a page, not by a problem document.

    Raises:
        NotFoundError: always.
    """
    raise NotFoundError("There is no such page.", remedy="Choose one above.")


async def _check_request(request: Request[Any, Any, Any]) -> None:
    require_known_parameters(request)
    await require_own_form(request)


def _asset(name: str) -> BaseRouteHandler:
    @get(f"/static/{name}", include_in_schema=False, name=f"ui {name}")
    async def serve() -> Response[bytes]:
        return Response(_content(name), media_type=_ASSETS[name], headers=_ASSET_HEADERS)

    return serve


def _content(name: str) -> bytes:
    content = files("perfopt_api.web").joinpath("static", name).read_bytes()
    if name != "dashboard.css":
        return content
    # Colours and charts are those of the pages that the CLI writes.
    return files("perfopt.charts").joinpath("page.css").read_bytes() + content


def _known_error(request: Request[Any, Any, Any], error: PerfoptError) -> Response[Any]:
    if isinstance(error, LoginRequiredError):
        return Redirect(login_path(error.path), status_code=303)
    status = 403 if isinstance(error, ForgedFormError) else handle_perfopt_error(request, error).status_code
    return page(request, "error.html", http_status=status, message=error.message, remedy=error.remedy)


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    problem = handle_http_exception(request, error)
    return page(
        request, "error.html", http_status=problem.status_code, message=problem.content.detail, remedy=None
    )


def _unknown_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    problem = handle_unexpected(request, error)
    return page(request, "error.html", http_status=500, message=problem.content.detail, remedy=None)
