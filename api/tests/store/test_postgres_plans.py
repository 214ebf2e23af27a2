import msgspec
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import Conflict, Plan, PlanStep
from perfopt.domain.request import PerformanceAnalysisRequest

RESOURCE, COST = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.COST_OPTIMIZATION


@pytest.fixture
def planned(recommendation, result):
    """An analysis whose recommendations have the engine's ids by rank, and their plan."""
    made = [recommendation("vm-1"), recommendation("vm-1", kind=COST)]
    made = [
        msgspec.structs.replace(one, recommendation_id=f"opt_20250621_00{rank}")
        for rank, one in enumerate(made, start=1)
    ]
    lost = Conflict(
        field="main.cpu_request",
        code="same_field",
        wanted="200m",
        kept="300m",
        lost_by="cost/cost",
        lost_by_type=COST,
        won_by="resource/resource",
        won_by_type=RESOURCE,
        reason="The saving of resource/resource is surer.",
    )
    made[1] = msgspec.structs.replace(made[1], conflicts=(lost,))
    plan = Plan(
        description="Set cpu_request to 300m, then replicas to 4.",
        current_state=made[0].current_state,
        recommended_state=made[0].recommended_state,
        expected_improvement=made[0].expected_improvement,
        confidence_detail=made[0].confidence_detail,
        evidence=made[0].evidence,
        price_book="book",
        currency="USD",
        monthly_cost_current=12.5,
        monthly_cost_recommended=10.0,
        steps=tuple(
            PlanStep(
                recommendation_id=one.recommendation_id,
                optimization_type=one.optimization_type,
                changes={"replicas": 4},
                reason="It comes in this order.",
            )
            for one in reversed(made)
        ),
        conflicts=(lost,),
    )
    return msgspec.structs.replace(result(*made), plan=plan)


async def stored_job(store, work, result, lease):
    created = await store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))
    claim = await work.claim(owner="me", lease=lease)
    await work.finish_job(claim, result)
    return await store.get_job(created.job.job_id)


async def test_a_job_shows_its_plan_under_the_ids_it_was_stored_with(store, work, planned, lease):
    await stored_job(store, work, planned, lease)  # the ids of a second job differ from the engine's
    job = await stored_job(store, work, planned, lease)
    ids = [recommendation.recommendation_id for recommendation in job.recommendations]
    assert [step.recommendation_id for step in job.plan.steps] == list(reversed(ids))
    assert ids[0] != planned.recommendations[0].recommendation_id
    steps = planned.plan.steps
    assert msgspec.structs.replace(job.plan, steps=steps) == planned.plan
    assert job.recommendations[1].conflicts == planned.plan.conflicts
    (listed, _) = (await store.list_jobs()).items
    assert listed.plan == job.plan


async def test_a_job_without_changes_has_no_plan(store, work, recommendation, result, lease):
    assert (await stored_job(store, work, result(recommendation("vm-1")), lease)).plan is None


async def test_plans_in_force_come_newest_first(store, work, planned, recommendation, result, lease):
    assert await store.plans() == ()
    await stored_job(store, work, planned, lease)
    newest = await stored_job(store, work, planned, lease)
    await stored_job(store, work, result(recommendation("vm-2")), lease)  # has no plan
    workload = newest.recommendations[0].workload
    ((name, plan),) = await store.plans()  # all of the first job is superseded
    assert (name, plan) == (workload, newest.plan)
    alone = msgspec.structs.replace(
        planned, recommendations=planned.recommendations[:1],
        plan=msgspec.structs.replace(planned.plan, steps=planned.plan.steps[1:]),
    )  # fmt: skip
    later = await stored_job(store, work, alone, lease)
    assert [plan for _, plan in await store.plans()] == [later.plan, newest.plan]
