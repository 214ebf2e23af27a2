"""Schedules: when fleets are analysed again."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.jobs import check_analysis
from perfopt_api.http.ports import ApiPorts
from perfopt_api.http.rules import schedule_namespaces
from perfopt_api.store.schedule_port import Schedule, ScheduleRequest


@post(
    "/schedules",
    status_code=201,
    operation_id="createSchedule",
    summary="Analyse a fleet again and again",
    tags=["Jobs"],
)
async def create_schedule(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    schedule: NamedDependency[ScheduleRequest],
) -> Schedule:
    """Stores a schedule; a firing whose predecessor still runs is that job, and missed ones are one."""
    check_analysis(schedule.analysis, ports.config)
    requester = request.scope.get("user")
    return await ports.schedules.create_schedule(schedule, now=ports.now(), requester=requester)


@get("/schedules", operation_id="listSchedules", summary="List schedules", tags=["Jobs"])
async def list_schedules(request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts]) -> list[Schedule]:
    """Lists schedules by name, with their next and last firing; those of the caller's namespaces."""
    visible, schedules = visible_namespaces(request), await ports.schedules.list_schedules()
    return [
        one for one in schedules if visible is None or visible.issuperset(schedule_namespaces(one) or ("",))
    ]


@delete(
    "/schedules/{name:str}",
    status_code=200,
    operation_id="deleteSchedule",
    summary="Delete a schedule",
    tags=["Jobs"],
)
async def delete_schedule(
    request: Request[Any, Any, Any], ports: NamedDependency[ApiPorts], name: FromPath[str]
) -> Schedule:
    """Deletes a schedule and shows it; a job that it started goes on."""
    require_plain(name, "name")
    return await ports.schedules.delete_schedule(name, requester=request.scope.get("user"))
