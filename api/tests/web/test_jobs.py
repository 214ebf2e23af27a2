import asyncio
import re

from sqlalchemy import update

from perfopt_api.store.apply_tables import applies
from perfopt_api.store.tables import jobs

from .conftest import shown


async def store_looks(database, job_id, looks):
    async with database.transaction() as connection:
        held = update(applies).where(applies.c.job_id == job_id)
        await connection.execute(held.values(state={"step": "observe", "looks": looks}))


def looked(*estimates):
    """Looks of a verification a minute apart: estimate, lower and upper bound of slow requests."""
    return [
        {
            "verdict": "inconclusive",
            "reason": "",
            "at": f"2026-11-30T12:0{minute}:00+00:00",
            "method": "concurrent_control",
            "bounds": {
                "slow_requests_over_100ms": {"estimate": at, "lower": low, "upper": high, "margin": 1.24},
                "slow_requests_over_100ms_share": {
                    "estimate": 0.1, "lower": 0.0, "upper": 0.2, "margin": 0.1,
                },
            },
        }
        for minute, (at, low, high) in enumerate(estimates)
    ]  # fmt: skip


async def test_a_job_draws_what_each_look_showed_of_the_changed_pods(client, database, waiting):
    assert "accepted</text>" not in await shown(client, f"/ui/jobs/{waiting}")
    await store_looks(database, waiting, looked((1.4, None, None), (1.98, 1.66, 2.38)))
    text = await shown(client, f"/ui/jobs/{waiting}")
    assert "Changed pods against the control" in text
    assert "<title>1.98 (1.66 to 2.38)</title>" in text
    assert "<title>1.4 (unknown to unknown)</title>" in text
    assert text.count("accepted</text>") == 1


async def test_a_job_tells_when_it_has_something_new_until_it_has_ended(client, database, waiting):
    async def end():
        await asyncio.sleep(1.2)  # the page is told of what there is first
        async with database.transaction() as connection:
            done = update(jobs).where(jobs.c.job_id == waiting)
            await connection.execute(done.values(status="APPLIED"))

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(end())
        answer = await client.get(f"/ui/jobs/{waiting}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert re.findall(r"event: (\w+)", answer.text) == ["changed", "ended"]
    assert (await client.get("/ui/jobs/absent/events")).status_code == 404
