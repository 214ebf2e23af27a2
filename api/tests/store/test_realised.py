"""What applied recommendations came to, and the demotion of a strategy that was accurate too seldom."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.jobs.demotion import StrategyDemotion
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_port import ApplyEnd, NewApply
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.port import JobError
from perfopt_api.store.realised import PostgresRealised
from perfopt_api.store.tables import outbox, outcomes

LEASE = timedelta(seconds=30)


@pytest.fixture
def applied(store, work, database, recommendation, result, lease):
    """Has a recommendation of a service made, applied and scored."""

    async def apply(service, status, *, accurate=None):
        await store.create_job(PerformanceAnalysisRequest(service_name=service))
        made = recommendation(service)
        await work.finish_job(await work.claim(owner="w", lease=lease), result(made))
        [made] = (await store.list_recommendations(service_name=service, include_expired=True)).items
        requests, applying = PostgresApplyRequests(database), PostgresApplies(database)
        new = NewApply(
            parent_job_id=(await store.get_recommendation(made.recommendation_id))[1],
            service_name=service,
            optimization_types=(made.optimization_type,),
            recommendation_ids=(made.recommendation_id,),
            order={},
            state={},
            step="preflight",
            workload=made.workload,
            namespace="prod",
        )
        await requests.create_apply(new)
        error = None if status is OptimizationStatus.APPLIED else JobError(code="x", message="x")
        claim = await applying.claim_apply(owner="w", lease=LEASE)
        await applying.finish_apply(claim, ApplyEnd(status=status, error=error))
        if accurate is not None:
            scored = {"status": "scored", "accurate": accurate, "applied": True}
            mine = outcomes.c.recommendation_id == made.recommendation_id
            async with database.transaction() as connection:
                await connection.execute(update(outcomes).where(mine).values(scored))

    return apply


async def test_what_was_rolled_back_counts_as_inaccurate(applied, database):
    await applied("a", OptimizationStatus.APPLIED, accurate=True)
    await applied("b", OptimizationStatus.APPLIED, accurate=False)
    await applied("c", OptimizationStatus.APPLIED)  # not scored yet
    await applied("d", OptimizationStatus.ROLLED_BACK)
    [one] = await PostgresRealised(database).applied_accuracy()
    assert (one.strategy, one.service_class) == ("resource", "standard")
    assert (one.applied, one.rolled_back, one.scored) == (3, 1, 3)
    assert one.accuracy == pytest.approx(1 / 3, abs=1e-4)
    assert one.confidence == 0.87
    [of_a] = await PostgresRealised(database).applied_accuracy("a")
    assert (of_a.scored, of_a.accuracy) == (1, 1.0)


async def test_a_strategy_below_its_floor_is_demoted_once_with_an_event(applied, database):
    store = PostgresRealised(database)
    settings = PolicySettings(strategy_floor=0.6, strategy_min_scored=2)
    task = StrategyDemotion(store, settings, pause_seconds=60)
    await applied("a", OptimizationStatus.ROLLED_BACK)
    await task.round()
    assert (await PostgresApplies(database).facts()).demoted == frozenset()  # too few
    await applied("b", OptimizationStatus.APPLIED, accurate=True)
    await task.round()
    await task.round()
    assert (await PostgresApplies(database).facts()).demoted == frozenset({"resource//standard"})
    async with database.transaction() as connection:
        subjects = (await connection.execute(select(outbox.c.subject))).scalars().all()
    assert [name for name in subjects if "demoted" in name] == [
        "quantivista.optimization.strategy_demoted.resource.standard"
    ]


async def test_a_strategy_at_its_floor_stays(applied, database):
    await applied("a", OptimizationStatus.ROLLED_BACK)
    await applied("b", OptimizationStatus.APPLIED, accurate=True)
    settings = PolicySettings(strategy_floor=0.5, strategy_min_scored=2)
    await StrategyDemotion(PostgresRealised(database), settings, pause_seconds=60).round()
    assert (await PostgresApplies(database).facts()).demoted == frozenset()
