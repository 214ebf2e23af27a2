import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from perfopt.domain.request import FleetAnalysisRequest, WorkloadSelector
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError
from perfopt_api.errors import QuotaExceededError
from perfopt_api.store import schedules as module
from perfopt_api.store.schedule_port import DeclaredSchedule, ScheduleRequest
from perfopt_api.store.schedules import PostgresSchedules, next_firing

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NIGHTLY = ScheduleRequest(
    name="nightly",
    cron="0 2 * * *",
    time_zone="Europe/Berlin",
    analysis=FleetAnalysisRequest(selector=WorkloadSelector(namespace="trading")),
)


@pytest.fixture
def schedules(database):
    return PostgresSchedules(database)


async def test_it_fires_in_its_time_zone_and_then_the_next_day(schedules, store):
    made = await schedules.create_schedule(NIGHTLY, now=NOW, requester="ann")
    due = datetime(2026, 12, 1, 1, tzinfo=UTC)
    assert (made.next_at, made.last_job_id) == (due, None)
    assert await schedules.fire(due - timedelta(seconds=1)) is None
    job_id = await schedules.fire(due)
    assert (await store.get_job(job_id)).service_name == "namespace=trading"
    assert await schedules.fire(due) is None
    [after] = await schedules.list_schedules()
    assert (after.next_at, after.last_at, after.last_job_id) == (due + timedelta(days=1), due, job_id)
    assert after.requester == "ann"


async def test_firings_that_were_missed_are_one(schedules):
    await schedules.create_schedule(NIGHTLY, now=NOW)
    late = NOW + timedelta(days=10)
    assert await schedules.fire(late)
    assert await schedules.fire(late) is None
    [after] = await schedules.list_schedules()
    assert late < after.next_at < late + timedelta(days=1)


async def test_a_firing_whose_predecessor_runs_is_that_job(schedules):
    await schedules.create_schedule(NIGHTLY, now=NOW)
    first = await schedules.fire(NOW + timedelta(days=1))
    assert await schedules.fire(NOW + timedelta(days=2)) == first


async def test_workers_that_look_at_once_fire_each_schedule_once(schedules):
    for number in range(5):
        named = msgspec.structs.replace(
            NIGHTLY,
            name=f"n{number}",
            analysis=FleetAnalysisRequest(selector=WorkloadSelector(namespace=f"n{number}")),
        )
        await schedules.create_schedule(named, now=NOW)
    fired = await asyncio.gather(*(schedules.fire(NOW + timedelta(days=1)) for _ in range(8)))
    ids = [job_id for job_id in fired if job_id is not None]
    while job_id := await schedules.fire(NOW + timedelta(days=1)):
        ids.append(job_id)
    assert len(ids) == len(set(ids)) == 5


async def test_a_name_is_used_once_until_it_is_deleted(schedules):
    await schedules.create_schedule(NIGHTLY, now=NOW)
    with pytest.raises(ConflictError, match="There is a schedule 'nightly'"):
        await schedules.create_schedule(NIGHTLY, now=NOW)
    assert (await schedules.delete_schedule("nightly")).name == "nightly"
    with pytest.raises(NotFoundError, match="There is no schedule 'nightly'"):
        await schedules.delete_schedule("nightly")
    await schedules.create_schedule(NIGHTLY, now=NOW)


async def test_there_are_only_so_many(schedules, monkeypatch):
    monkeypatch.setattr(module, "MAX_SCHEDULES", 1)
    await schedules.create_schedule(NIGHTLY, now=NOW)
    with pytest.raises(QuotaExceededError, match="There are 1 schedules"):
        await schedules.create_schedule(msgspec.structs.replace(NIGHTLY, name="b"), now=NOW)


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("0 2 * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("0 2 30 2 *", "UTC", "cron"),
        ("0 2 * * *", "Europe/Berlino", "time_zone"),
        ("0 2 * * *", "../etc/passwd", "time_zone"),
        ("0 2 * * *", "", "time_zone"),
    ],
)
def test_a_wrong_expression_or_zone_is_refused(cron, zone, field):
    with pytest.raises(InvalidInputError) as error:
        next_firing(cron, zone, NOW)
    assert error.value.field == field


def test_the_hour_that_summer_time_leaves_out_fires_after_it():
    before = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert next_firing("30 2 * * *", "Europe/Berlin", before) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


async def test_schedules_of_the_configuration_are_made_changed_and_deleted_and_others_stay(schedules):
    await schedules.create_schedule(NIGHTLY, now=NOW, requester="ann")
    everything = FleetAnalysisRequest(selector=WorkloadSelector())
    hourly = DeclaredSchedule(cron="0 * * * *", analysis=everything)
    await schedules.declare({"nightly": hourly, "all": hourly}, now=NOW)
    found = {one.name: (one.cron, one.requester) for one in await schedules.list_schedules()}
    assert found == {"nightly": ("0 2 * * *", "ann"), "all": ("0 * * * *", "configuration")}
    fired = NOW + timedelta(hours=1)
    await schedules.fire(fired)
    await schedules.declare({"all": hourly}, now=fired)
    kept = next(one for one in await schedules.list_schedules() if one.name == "all")
    assert kept.last_at == fired  # what did not change is not made anew
    weekly = msgspec.structs.replace(hourly, cron="0 3 * * 1")
    await asyncio.gather(*(schedules.declare({"all": weekly}, now=fired) for _ in range(2)))
    assert [one.cron for one in await schedules.list_schedules() if one.name == "all"] == ["0 3 * * 1"]
    await schedules.declare({}, now=fired)
    assert [one.name for one in await schedules.list_schedules()] == ["nightly"]


@pytest.mark.parametrize(
    ("change", "message"), [({"cron": "61 * * * *"}, "cron"), ({"time_zone": "Mars"}, "Mars")]
)
def test_a_declared_schedule_that_never_fires_is_refused_where_it_is_read(change, message):
    right = {"cron": "0 * * * *", "analysis": {"selector": {}}}
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(right | change, DeclaredSchedule)
