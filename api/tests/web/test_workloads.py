"""The list of workloads and the page of one: statuses, filters, selections and what they lead to."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from sqlalchemy import update

from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.apply_rows import write_audit
from perfopt_api.store.tables import jobs, recommendations

from .conftest import WORKLOAD, shown, token_of


async def test_change_that_was_rolled_back_is_no_saving_that_is_available(
    client, database, waiting, recommended
):
    async with database.transaction() as connection:
        undone = update(jobs).where(jobs.c.job_id == waiting)
        error = {"code": "verification_failed", "message": "Harm is shown."}
        await connection.execute(undone.values(status="ROLLED_BACK", error=error))
    listed = await shown(client, "/ui/workloads?status=rolled_back")
    assert WORKLOAD in listed
    assert "change rolled back" in listed
    assert WORKLOAD not in await shown(client, "/ui/workloads?status=change")
    assert "40.00 USD" not in await shown(client, "/ui")
    for path in (recommended, f"/ui/workload?name={WORKLOAD}"):
        text = await shown(client, path)
        assert f'href="/ui/jobs/{waiting}"' in text
        assert "Harm is shown." in text


async def test_workloads_show_the_status_and_what_limits_it(client, analysed):
    text = await shown(client, "/ui/workloads?status=abstained")
    assert "no_data" in text
    assert "There is no latency." in text
    assert WORKLOAD not in text


async def test_workloads_are_filtered_and_paged_in_order(client, analysed):
    assert "1 workload<" in (await shown(client, "/ui/workloads?namespace=edge")).replace("workloads", "")
    text = await shown(client, "/ui/workloads?sort=name&kind=deployment")
    assert text.index("edge/deployment/gateway") < text.index(WORKLOAD)
    assert "No workload matches" in await shown(client, "/ui/workloads?page=2")


async def test_lists_are_given_as_csv_without_formulas(client, world, analysed):
    async with world.database.transaction() as connection:
        await write_audit(connection, AuditEntry(action="freeze", subject="=1+1", principal="@x"))
    lines = (await shown(client, "/ui/workloads?format=csv")).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("workload,service_name,state,limit_code")
    assert "'=1+1" in await shown(client, "/ui/audit?format=csv")
    assert (await shown(client, "/ui/jobs?format=csv")).count("\n") == 4
    assert (await shown(client, "/ui/accuracy?format=csv")).startswith("group,name")
    packed = await shown(client, "/ui/fleet?price_book=example:gcp-us-central1&format=csv")
    assert [line.split(",")[0] for line in packed.splitlines()] == ["fleet", "current", "recommended"]


async def test_selected_changes_are_queued_once_and_the_rest_states_why_not(client, world, analysed):
    token = token_of(await shown(client, "/ui/workloads"))
    form = {"form_token": token, "name": [WORKLOAD, "edge/deployment/gateway"], "reason": "cheaper"}
    assert "Queue changes" not in await shown(client, "/ui/workloads")
    assert (await client.post("/ui/queue", data=form)).status_code == 409
    world.web.api.executor = True
    assert "Queue changes" in await shown(client, "/ui/workloads")
    done = await client.post("/ui/queue", data=form)
    assert "1 change queued" in done.text
    assert "Its status is: no change needed." in done.text
    again = await client.post("/ui/queue", data=form)
    assert "0 changes queued" in again.text
    assert "already" in again.text
    (change,) = world.queue.enqueued
    assert "Lower the CPU request" not in await shown(client, "/ui/approvals")
    (entry,) = await world.web.pages.audit(subject=WORKLOAD)
    assert (entry["action"], entry["job_id"], entry["reason"]) == ("apply", change, "cheaper")


async def test_workload_page_shows_changes_and_loads_series_apart(client, analysed):
    text = await shown(client, f"/ui/workload?name={quote(WORKLOAD)}")
    assert "500m → 300m" in text
    assert 'hx-get="/ui/workload/series?name=' in text
    assert "There is no latency." in text


async def test_series_say_themselves_what_is_wrong_with_the_source(client, analysed):
    text = await shown(client, f"/ui/workload/series?name={quote(WORKLOAD)}")
    assert "The source traces &lt;is&gt; away." in text
    assert (await client.get(f"/ui/workload/series.json?name={quote(WORKLOAD)}")).status_code >= 400


async def test_selected_workloads_are_analysed(client, world, analysed):
    token = token_of(await shown(client, "/ui/workloads"))
    form = {"form_token": token, "name": [WORKLOAD, "edge/deployment/gateway"]}
    answer = await client.post("/ui/analyse", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/ui/workloads?started=2"
    assert len(world.queue.enqueued) == 2
    jobs = [await world.web.api.store.get_job(job_id) for job_id in world.queue.enqueued]
    assert {job.service_name for job in jobs} == {WORKLOAD, "edge/deployment/gateway"}


async def test_savings_of_an_applied_change_are_not_available_any_more(client, database, analysed):
    before = await shown(client, "/ui")
    assert '<a class="card" href="/ui/workloads?status=change&amp;sort=saving"><b>40.00 USD</b>' in before
    assert "Expected of applied changes" not in before
    async with database.transaction() as connection:
        mine = update(recommendations).where(recommendations.c.workload == WORKLOAD)
        await connection.execute(mine.values(applied=True))
    after = await shown(client, "/ui")
    assert '<a class="card" href="/ui/workloads?status=applied&amp;sort=saving"><b>40.00 USD</b>' in after
    assert "no change that is not applied yet saves anything" in after
    assert WORKLOAD in await shown(client, "/ui/workloads?status=applied")
    assert WORKLOAD not in await shown(client, "/ui/workloads?status=change")


async def test_a_change_that_was_rolled_back_is_not_queued_again_unseen(client, world, waiting):
    world.web.api.executor = True
    async with world.database.transaction() as connection:
        undone = update(jobs).where(jobs.c.job_id == waiting)
        await connection.execute(undone.values(status="ROLLED_BACK"))
    form = {"form_token": token_of(await shown(client, "/ui")), "name": WORKLOAD, "reason": "again"}
    assert "Its status is: change rolled back." in (await client.post("/ui/queue", data=form)).text


async def test_an_applied_change_is_in_force_though_it_was_rolled_back_before(client, world, waiting):
    async with world.database.transaction() as connection:
        await connection.execute(update(jobs).where(jobs.c.job_id == waiting).values(status="ROLLED_BACK"))
        mine = update(recommendations).where(recommendations.c.workload == WORKLOAD)
        await connection.execute(mine.values(applied=True))
    assert "40.00 USD" in await shown(client, "/ui")
    assert WORKLOAD in await shown(client, "/ui/workloads?status=applied")


async def test_what_no_longer_holds_is_not_offered_to_be_applied(client, world, analysed, plan):
    world.web.api.executor = True
    assert "Apply the change" in await shown(client, plan)
    past = datetime.now(UTC) - timedelta(days=400)
    async with world.database.transaction() as connection:
        mine = update(recommendations).where(recommendations.c.workload == WORKLOAD)
        await connection.execute(mine.values(made_at=past, valid_until=past + timedelta(days=7)))
    text = await shown(client, plan)
    assert "Apply the change" not in text
    assert "analyse the workload again" in text
