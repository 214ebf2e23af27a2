"""Health and metrics of a worker, which has no other HTTP."""

from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.plugins.prometheus import PrometheusController

from perfopt_api.http.errors import EXCEPTION_HANDLERS
from perfopt_api.http.health import Health, live, readiness
from perfopt_api.http.ports import Checks
from perfopt_api.http.problems import FieldError, Problem
from perfopt_api.supervision import TaskSupervisor


def create_worker_app(checks: Checks, supervisor: TaskSupervisor) -> Litestar:
    """Returns the application with `/health/live`, `/health/ready` and `/metrics`.

    Args:
        checks: what must answer, by name.
        supervisor: knows which background tasks fail.
    """
    return Litestar(
        route_handlers=[live, worker_ready, type("Metrics", (PrometheusController,), {})],
        dependencies={
            "checks": Provide(lambda: checks, sync_to_thread=False),
            "supervisor": Provide(lambda: supervisor, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


@get("/health/ready")
async def worker_ready(
    request: Request[Any, Any, Any],
    checks: NamedDependency[Checks],
    supervisor: NamedDependency[TaskSupervisor],
) -> Response[Health | Problem]:
    """Answers 200 while PostgreSQL takes writes, NATS answers and no background task fails, else 503."""
    failing = [FieldError(field=name, message=reason) for name, reason in supervisor.failing.items()]
    return await readiness(request, checks, failing)
