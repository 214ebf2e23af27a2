"""Apply jobs in PostgreSQL: claims, locks, state, ends, wishes, freezes, audit."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_port import (
    EVERYTHING,
    ApplyEnd,
    ApplyInProgressError,
    Freeze,
    NewApply,
    TimelineEntry,
)
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.apply_tables import applies, workload_locks
from perfopt_api.store.port import JobError
from perfopt_api.store.tables import jobs, outbox

LEASE = timedelta(seconds=30)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
APPLIED = ApplyEnd(status=OptimizationStatus.APPLIED, verification="No harm.", changes={"replicas": 3})
ROLLED_BACK = ApplyEnd(
    status=OptimizationStatus.ROLLED_BACK, error=JobError(code="verification_failed", message="Slower.")
)


@pytest.fixture
def requests(database):
    return PostgresApplyRequests(database, base_url="https://perfopt.example")


@pytest.fixture
def applying(database):
    return PostgresApplies(database, base_url="https://perfopt.example")


@pytest.fixture
def order(requests):
    """Stores a job that applies a recommendation of a workload."""

    async def create(workload="prod/deployment/vm-1", made="opt_20250621_001", key=None, **fields):
        new = NewApply(
            parent_job_id=fields.pop("parent_job_id", "parent"),
            service_name=workload.split("/")[-1],
            optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
            recommendation_ids=(made,),
            order={"change": workload},
            state={"seen": 0},
            step="preflight",
            workload=workload,
            namespace=workload.split("/")[-3],
            **fields,
        )
        return (await requests.create_apply(new, idempotency_key=key, body_hash=key and "hash")).job

    return create


async def status_of(database, job_id):
    async with database.transaction() as connection:
        return await connection.scalar(select(jobs.c.status).where(jobs.c.job_id == job_id))


async def events_of(database):
    async with database.transaction() as connection:
        rows = (await connection.execute(select(outbox.c.headers).order_by(outbox.c.id))).scalars()
        return [row["ce-type"] for row in rows]


async def expire(database, job_id):
    async with database.transaction() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(lease_expires_at=past))


async def test_an_ordered_change_is_claimed_once_with_what_was_ordered(order, applying):
    job = await order(requester="ann", reason="cheaper")
    assert job.status is OptimizationStatus.APPLYING
    assert job.parent_job_id == "parent"
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    assert (claim.job_id, claim.order, claim.state) == (
        job.job_id,
        {"change": "prod/deployment/vm-1"},
        {"seen": 0},
    )
    assert claim.requester == "ann"
    assert await applying.claim_apply(owner="two", lease=LEASE) is None


async def test_a_second_job_of_a_recommendation_is_refused_until_the_first_has_ended(order, applying):
    job = await order()
    with pytest.raises(ApplyInProgressError, match=job.job_id):
        await order()
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    assert await applying.finish_apply(claim, ROLLED_BACK)
    assert (await order()).job_id != job.job_id


async def test_the_same_idempotency_key_is_the_same_job(order):
    assert (await order(key="k")).job_id == (await order(key="k")).job_id


async def test_two_jobs_of_one_workload_are_never_worked_on_at_once(order, applying):
    first, second = await order(), await order(made="opt_20250621_002")
    claims = await asyncio.gather(*(applying.claim_apply(owner=f"{n}", lease=LEASE) for n in range(4)))
    [claim] = [claim for claim in claims if claim is not None]
    assert claim.job_id in (first.job_id, second.job_id)
    await applying.finish_apply(claim, APPLIED)
    following = await applying.claim_apply(owner="later", lease=LEASE)
    assert {claim.job_id, following.job_id} == {first.job_id, second.job_id}


async def test_a_lost_lease_lets_another_worker_go_on_and_stops_the_first(order, applying, database):
    job = await order()
    lost = await applying.claim_apply(owner="one", lease=LEASE)
    await applying.save_apply(lost, step="canary", state={"seen": 1}, snapshot={"fields": {}})
    await expire(database, job.job_id)
    held = await applying.claim_apply(owner="two", lease=LEASE)
    assert held.state == {"seen": 1}
    assert not await applying.save_apply(lost, step="rest", state={})
    assert not await applying.finish_apply(lost, APPLIED)
    assert await applying.extend_apply(lost, LEASE) is None
    assert await applying.save_apply(held, step="rest", state={"seen": 2})


@pytest.mark.parametrize("wish", ["cancel", "rollback"])
async def test_what_is_asked_for_just_before_the_end_is_not_lost(order, applying, requests, wish):
    job = await order()
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    await requests.ask(job.job_id, wish, principal="bob", reason="pager")
    assert not await applying.finish_apply(claim, APPLIED, state={"seen": 2})
    again = await applying.claim_apply(owner="two", lease=LEASE)
    assert (again.job_id, again.wish, again.state) == (job.job_id, wish, {"seen": 0})
    assert not await applying.finish_apply(claim, ROLLED_BACK)
    assert await applying.finish_apply(again, ROLLED_BACK)


async def test_a_change_that_failed_ends_whatever_is_asked_for(order, applying, requests):
    job = await order()
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    await requests.ask(job.job_id, "cancel", principal="bob", reason=None)
    assert await applying.finish_apply(claim, ROLLED_BACK)


async def test_a_job_that_waits_is_claimed_when_due_and_leaves_the_workload_free(order, applying):
    first, second = await order(), await order(made="opt_20250621_002")
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    await applying.release_apply(claim, due_at=datetime.now(UTC) + timedelta(hours=1), unlock=True)
    other = await applying.claim_apply(owner="two", lease=LEASE)
    assert {claim.job_id, other.job_id} == {first.job_id, second.job_id}
    assert await applying.claim_apply(owner="three", lease=LEASE) is None


async def test_an_end_has_the_oldest_that_waits_for_room_looked_at_at_once(order, applying):
    for number, namespace in enumerate(("shop", "shop", "prod", "prod")):
        await order(workload=f"{namespace}/deployment/vm-{number}", made=f"opt_{number}")
    runs, *waiting = [await applying.claim_apply(owner=f"{n}", lease=LEASE) for n in range(4)]
    for claim, rule in zip(
        waiting, ("policy.settle_minutes", "policy.max_in_flight", "policy.max_in_flight"), strict=True
    ):
        await applying.save_apply(claim, step="preflight", state={"waiting": rule})
        await applying.release_apply(claim, due_at=datetime.now(UTC) + timedelta(hours=1), unlock=True)
    assert await applying.finish_apply(runs, APPLIED)
    due = await applying.claim_apply(owner="next", lease=LEASE)
    assert due.job_id == waiting[1].job_id
    assert await applying.claim_apply(owner="another", lease=LEASE) is None


async def test_a_wish_makes_a_waiting_job_due_and_is_shown_to_whoever_holds_it(order, applying, requests):
    job = await order()
    claim = await applying.claim_apply(owner="one", lease=LEASE)
    await requests.ask(job.job_id, "cancel", principal="bob", reason="wrong service")
    assert (await applying.extend_apply(claim, LEASE)).wish == "cancel"
    await applying.release_apply(claim, due_at=datetime.now(UTC) + timedelta(hours=1), unlock=True)
    again = await applying.claim_apply(owner="two", lease=LEASE)
    assert (again.wish, again.wished_by, again.wish_reason) == ("cancel", "bob", "wrong service")


async def test_starts_are_counted_one_after_the_other_and_once(order, applying):
    for number in range(6):
        await order(workload=f"prod/deployment/vm-{number}", made=f"opt_{number}")
    claims = [await applying.claim_apply(owner=f"{n}", lease=LEASE) for n in range(6)]
    started = await asyncio.gather(
        *(applying.start_apply(claim, lambda facts: len(facts.past) < 2) for claim in claims)
    )
    assert sum(started) == 2
    lucky = claims[started.index(True)]
    assert await applying.start_apply(lucky, lambda facts: False)
    assert len((await applying.facts()).past) == 2


async def test_an_applied_recommendation_is_in_force_until_it_is_rolled_back(
    store, work, requests, applying, database, recommendation, result, lease
):
    await store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))
    await work.finish_job(await work.claim(owner="w", lease=lease), result(recommendation()))
    [made] = (await store.list_recommendations()).items
    parent = (await store.get_recommendation(made.recommendation_id))[1]
    job = (
        await requests.create_apply(
            NewApply(
                parent_job_id=parent,
                service_name="vm-1",
                optimization_types=(made.optimization_type,),
                recommendation_ids=(made.recommendation_id,),
                order={},
                state={},
                step="preflight",
                workload=made.workload,
                namespace="prod",
            )
        )
    ).job
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    shown = await store.get_job(job.job_id)
    assert shown.status is OptimizationStatus.APPLIED
    assert [each.applied for each in shown.recommendations] == [True]
    assert [each.job_id for each in await applying.in_force()] == [job.job_id]

    await requests.ask(job.job_id, "rollback", principal="ann", reason="pager")
    claim = await applying.claim_apply(owner="w", lease=LEASE)
    assert claim.wish == "rollback"
    assert [each.applied for each in (await store.get_job(job.job_id)).recommendations] == [True]
    await applying.finish_apply(claim, ROLLED_BACK)
    shown = await store.get_job(job.job_id)
    assert shown.error["code"] == "verification_failed"
    assert [each.applied for each in shown.recommendations] == [False]
    assert await applying.in_force() == ()
    assert (await events_of(database))[2:] == [
        "optimization_job_status_changed",
        "optimization_job_status_changed",
        "optimization_applied",
        "optimization_job_status_changed",
        "optimization_job_status_changed",
        "optimization_rolled_back",
    ]


@pytest.fixture
def analysed(store, work, recommendation, result, lease):
    """Stores an analysis of vm-1; returns its recommendation and its job."""

    async def analyse():
        await store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))
        await work.finish_job(await work.claim(owner="w", lease=lease), result(recommendation()))
        made = (await store.list_recommendations()).items[0]
        return made.recommendation_id, (await store.get_recommendation(made.recommendation_id))[1]

    return analyse


async def apply_of(order, applying, made, parent):
    job = await order(made=made, parent_job_id=parent)
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    return job.job_id


async def test_a_rollback_puts_the_earlier_change_in_force_again(order, applying, requests, analysed):
    first = await apply_of(order, applying, *await analysed())
    second = await apply_of(order, applying, *await analysed())
    assert [each.job_id for each in await applying.in_force()] == [second]
    await requests.ask(second, "rollback", principal="ann", reason=None)
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), ROLLED_BACK)
    assert [each.job_id for each in await applying.in_force()] == [first]


async def test_what_somebody_changed_since_is_out_of_force_and_noted_once(
    order, applying, requests, analysed
):
    job_id = await apply_of(order, applying, *await analysed())
    (change,) = await applying.in_force()
    entry = TimelineEntry(at=NOW, step="ended", code="overridden", message="Changed.", data={"replicas": 9})
    await applying.note_overridden(change, entry)
    await applying.note_overridden(change, entry)
    assert await applying.in_force() == ()
    assert [each.code for each in await requests.timeline(job_id)].count("overridden") == 1
    (audited,) = [each for each in await requests.audit_log() if each.action == "overridden"]
    assert (audited.job_id, audited.after) == (job_id, {"replicas": 9})


async def test_what_ended_otherwise_cannot_be_rolled_back_cancelled_or_approved(order, applying, requests):
    job = await order()
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), ROLLED_BACK)
    for wish in ("rollback", "cancel"):
        with pytest.raises(ConflictError, match="is ROLLED_BACK"):
            await requests.ask(job.job_id, wish, principal=None, reason=None)
    with pytest.raises(ConflictError, match="waits for no approval"):
        await requests.approve(job.job_id, principal="bob", reason=None)
    with pytest.raises(NotFoundError):
        await requests.ask("nothing", "cancel", principal=None, reason=None)


async def test_who_asked_for_the_analysis_cannot_approve_what_it_applies_by_itself(
    order, requests, store, work, recommendation, result, lease
):
    await store.create_job(PerformanceAnalysisRequest(service_name="vm-1", auto_apply=True), requester="ann")
    claim = await work.claim(owner="w", lease=lease)
    await work.finish_job(claim, result(recommendation()))
    job = await order(parent_job_id=claim.job_id, requester=None)
    with pytest.raises(ConflictError, match="ann asked for this change and cannot approve it"):
        await requests.approve(job.job_id, principal="ann", reason=None)
    await requests.approve(job.job_id, principal="bob", reason=None)


async def test_an_approval_is_another_principal_s(order, applying, requests):
    job = await order(requester="ann")
    with pytest.raises(ConflictError, match="cannot approve"):
        await requests.approve(job.job_id, principal="ann", reason=None)
    await requests.approve(job.job_id, principal="bob", reason="seen")
    assert (await applying.claim_apply(owner="w", lease=LEASE)).approvals == ("bob",)


async def test_restore_takes_back_what_is_in_force_within_its_scope_newest_first(
    order, applying, requests, database
):
    older = await order(workload="prod/deployment/a", made="opt_1")
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    newer = await order(workload="prod/deployment/a", made="opt_2")
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    outside = await order(workload="prod2/deployment/a", made="opt_3")
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)

    assert set(await requests.restore("prod", principal="ann", reason=None)) == {older.job_id, newer.job_id}
    assert await status_of(database, outside.job_id) == "APPLIED"
    first = await applying.claim_apply(owner="w", lease=LEASE)
    assert first.job_id == newer.job_id
    assert await applying.claim_apply(owner="x", lease=LEASE) is None
    await applying.finish_apply(first, ROLLED_BACK)
    assert (await applying.claim_apply(owner="w", lease=LEASE)).job_id == older.job_id
    assert await requests.restore(EVERYTHING, principal=None, reason=None) == (older.job_id, outside.job_id)


async def test_restore_of_a_namespace_leaves_a_cluster_of_that_name_alone(order, applying, requests):
    jobs = {}
    for workload in ("eu/prod/deployment/a", "prod/shop/deployment/b", "us/prod/deployment/c"):
        jobs[workload] = (await order(workload=workload, made=f"opt_{workload[:2]}")).job_id
        await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    eu, _, us = jobs.values()
    assert await requests.restore("eu/prod", principal="ann", reason=None) == (eu,)
    assert set(await requests.restore("prod", principal="ann", reason=None)) == {eu, us}


async def test_freezes_are_facts_until_they_are_lifted(requests, applying):
    await requests.set_freeze(Freeze(scope="prod", reason="close of the year", principal="ann"))
    await requests.set_freeze(Freeze(scope="prod", reason="incident"))
    assert [(each.scope, each.reason) for each in (await applying.facts()).freezes] == [("prod", "incident")]
    assert await requests.lift_freeze("prod", principal="ann", reason=None)
    assert not await requests.lift_freeze("prod", principal="ann", reason=None)
    assert (await applying.facts()).freezes == ()


async def test_the_timeline_is_read_from_any_entry_on(order, applying, requests):
    job = await order()
    claim = await applying.claim_apply(owner="w", lease=LEASE)
    entries = [TimelineEntry(at=NOW, step="canary", code=f"c{n}", message="m") for n in range(3)]
    await applying.save_apply(claim, step="canary", state={}, entries=entries)
    seen = await requests.timeline(job.job_id)
    assert [entry.code for entry in seen] == ["c0", "c1", "c2"]
    assert [entry.code for entry in await requests.timeline(job.job_id, after=seen[1].id)] == ["c2"]
    assert await requests.timeline(job.job_id, after=seen[2].id) == ()
    assert await requests.timeline("nothing") is None


async def test_the_audit_says_who_did_what_and_takes_no_change(order, applying, requests, database):
    job = await order(requester="ann", reason="cheaper")
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    said = [(entry.action, entry.principal, entry.job_id) for entry in await requests.audit_log()]
    assert said == [("apply", "ann", job.job_id), ("applied", "ann", job.job_id)]
    assert (await requests.audit_log(subject="other")) == ()
    for statement in ("UPDATE audit SET action = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.transaction() as connection:
                await connection.execute(text(statement))


async def test_ends_leave_no_lock(order, applying, database):
    await order()
    await applying.finish_apply(await applying.claim_apply(owner="w", lease=LEASE), APPLIED)
    async with database.transaction() as connection:
        assert (await connection.execute(select(workload_locks))).all() == []
        assert (await connection.execute(select(applies.c.step))).scalars().all() == ["ended"]
