"""Puts the controllers together to one application."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.template import TemplateConfig
from litestar.types import ASGIApp, ExceptionHandlersMap

from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.http import (
    accuracy,
    applying,
    audit,
    docs,
    events,
    fleet,
    health,
    jobs,
    models,
    openapi,
    plugins,
    policy,
    recommendations,
    scaling,
    schedules,
)
from perfopt_api.http.admission import Admission
from perfopt_api.http.auth import require_right
from perfopt_api.http.body import body_of
from perfopt_api.http.bodytime import BodyTimeout
from perfopt_api.http.denied import DeniedCalls
from perfopt_api.http.errors import EXCEPTION_HANDLERS, NotAcceptableError, handle_http_exception
from perfopt_api.http.links import PREFIX
from perfopt_api.http.parameters import require_known_parameters
from perfopt_api.http.ports import ApiPorts
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.http.requestlog import RequestLog
from perfopt_api.store.schedule_port import ScheduleRequest

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def create_app(
    ports: ApiPorts,
    lifespan: Sequence[Lifespan] = (),
    pages: Router | None = None,
    templates: TemplateConfig[JinjaTemplateEngine] | None = None,
    links: Callable[[ASGIApp], ASGIApp] | None = None,
) -> Litestar:
    """Returns the application.

    Args:
        ports: what it works with.
        lifespan: entered before the first request and left after the last.
        pages: of the dashboard; None leaves it out.
        templates: that the pages are rendered from.
        links: leads browsers from resources to pages.
    """
    rate, stopping = ports.settings.requests_per_second, asyncio.Event()
    app = Litestar(
        route_handlers=[
            _api_router(),
            health.live,
            health.ready,
            type("Metrics", (PrometheusController,), {"include_in_schema": False}),
            openapi.openapi_json,
            openapi.problem_kind,
            events.event_schema,
            events.asyncapi_json,
            docs.landing_at("/docs" if pages is None else "/ui"),
            *([] if pages is None else [pages]),
        ],
        template_config=templates,
        dependencies={"ports": Provide(lambda: ports, sync_to_thread=False)},
        guards=[require_right],
        exception_handlers=_exception_handlers(pages),
        middleware=[PrometheusConfig(app_name="perfopt", prefix="perfopt_http", group_path=True).middleware],
        openapi_config=openapi.openapi_config(),
        request_max_body_size=ports.settings.max_body_bytes,
        state=State(
            {
                "settings": ports.settings,
                "ports": ports,
                "auth": ports.auth,
                "denied": DeniedCalls(ports.note_denied),
                "stop_waiting": partial(_stop_waiting, ports, stopping),
                "stopping": stopping,
                "buckets": TokenBuckets(rate),
                "now": ports.now,
            }
        ),
        lifespan=list(lifespan),
        logging_config=None,
        debug=False,
    )
    # Around everything, unknown paths included; middleware of the framework runs for known ones only.
    inner = app.asgi_handler if links is None else links(app.asgi_handler)
    app.asgi_handler = RequestLog(Admission(BodyTimeout(inner, ports.settings.body_seconds)))
    return app


def _exception_handlers(pages: Router | None) -> ExceptionHandlersMap:
    """Returns what answers errors that no route raised, such as a wrong method: pages below their path."""
    if pages is None:
        return EXCEPTION_HANDLERS
    as_page = pages.exception_handlers[HTTPException]

    def by_path(request: Request[Any, Any, Any], error: HTTPException) -> Any:
        inside = request.scope["path"].startswith(f"{pages.path}/")
        return (as_page if inside else handle_http_exception)(request, error)

    return {**EXCEPTION_HANDLERS, HTTPException: by_path}


def _stop_waiting(ports: ApiPorts, stopping: asyncio.Event) -> None:
    """Ends what waits for something to happen: requests for jobs, and streams of pages."""
    stopping.set()
    ports.waiter.stop()


def _api_router() -> Router:
    return Router(
        PREFIX,
        route_handlers=[
            jobs.analyze,
            jobs.analyze_fleet,
            jobs.list_jobs,
            jobs.get_job,
            schedules.create_schedule,
            schedules.list_schedules,
            schedules.delete_schedule,
            recommendations.list_recommendations,
            recommendations.get_recommendation,
            recommendations.apply_recommendation,
            recommendations.apply_plan,
            applying.roll_back_job,
            applying.cancel_job,
            applying.approve_job,
            applying.get_timeline,
            policy.get_policy,
            policy.freeze,
            policy.unfreeze,
            policy.restore,
            audit.get_audit,
            accuracy.get_accuracy,
            fleet.get_fleet,
            scaling.get_demand,
            scaling.get_demand_of_full_name,
            models.list_models,
            plugins.list_plugins,
        ],
        dependencies={
            "analysis": Provide(body_of(PerformanceAnalysisRequest)),
            "fleet": Provide(body_of(FleetAnalysisRequest)),
            "schedule": Provide(body_of(ScheduleRequest)),
            "wish": Provide(body_of(ApplyRecommendationRequest, optional=True)),
            "why": Provide(body_of(applying.ChangeReason, optional=True)),
            "part": Provide(body_of(policy.ScopeRequest)),
        },
        before_request=_check_request,
    )


async def _check_request(request: Request[Any, Any, Any]) -> None:
    _require_acceptable(request)
    require_known_parameters(request)


def _require_acceptable(request: Request[Any, Any, Any]) -> None:
    accepted = request.headers.get("accept")
    others = request.route_handler.opt.get("media_types", ())
    known = ["application/json", "application/problem+json", *others]
    if accepted and request.accept.best_match(known) is None:
        raise NotAcceptableError(
            f"The API answers in JSON, and the request accepts {accepted!r} only.",
            remedy="Send `Accept: application/json`, or no such header.",
        )
