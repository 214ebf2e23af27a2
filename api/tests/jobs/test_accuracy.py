from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, insert

from perfopt.domain.enums import OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.jobs.accuracy import AccuracyTask
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.recorded import PostgresRecorded
from perfopt_api.store.tables import outcomes
from perfopt_api.store.work import PostgresWorkStore

RESOURCE = OptimizationType.RESOURCE_OPTIMIZATION.value


async def scored(database, recommendation, result, *, name, accurate, stated, age=timedelta(days=1)):
    await PostgresStore(database).create_job(PerformanceAnalysisRequest(service_name=name))
    work = PostgresWorkStore(database)
    claim = await work.claim(owner="w", lease=timedelta(minutes=1))
    await work.finish_job(claim, result(recommendation(name)))
    made = (await PostgresStore(database).get_job(claim.job_id)).recommendations[0].recommendation_id
    values = {"status": "scored", "scored_at": func.now() - age, "accurate": accurate, "stated": stated}
    values |= {"optimization_type": RESOURCE, "due_at": func.now()}
    async with database.transaction() as connection:
        await connection.execute(outcomes.delete().where(outcomes.c.recommendation_id == made))
        await connection.execute(insert(outcomes).values(recommendation_id=made, **values))


async def test_accuracy_and_what_was_stated_are_metrics(database, recommendation, result):
    for name, accurate, stated in (("a", True, 0.9), ("b", True, 0.8), ("c", False, 0.7)):
        await scored(database, recommendation, result, name=name, accurate=accurate, stated=stated)
    await scored(
        database, recommendation, result, name="d", accurate=False, stated=0.1, age=timedelta(weeks=14)
    )
    await AccuracyTask(PostgresRecorded(database)).round()
    found = {
        name: REGISTRY.get_sample_value(name, {"type": RESOURCE})
        for name in (
            "perfopt_accuracy_ratio", "perfopt_stated_confidence_ratio", "perfopt_scored_recommendations",
        )
    }  # fmt: skip
    assert list(found.values()) == pytest.approx([2 / 3, 0.8, 3])
