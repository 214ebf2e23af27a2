"""Lists are read by an index, as the plans of their statements show."""

import re

import pytest
from sqlalchemy import event

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.request import FleetAnalysisRequest, WorkloadSelector


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.list_jobs(), "ix_optimization_jobs_listed"),
        (lambda store: store.list_jobs(fleet_id="fleet"), "ix_optimization_jobs_of_fleet"),
        (lambda store: store.list_jobs(service_name="a_b"), "ix_optimization_jobs_service"),
        (lambda store: store.list_jobs(status=OptimizationStatus.FAILED), "ix_optimization_jobs_status"),
        (lambda store: store.list_recommendations(), "ix_optimization_recommendations_current"),
        (
            lambda store: store.list_recommendations(service_name="a_b", include_superseded=True),
            "ix_optimization_recommendations_service",
        ),
        (
            lambda store: store.list_recommendations(namespaces=["team"], include_superseded=True),
            "ix_optimization_recommendations_namespace",
        ),
        (lambda store: store.list_jobs(namespaces=["team"]), "ix_optimization_jobs_namespace"),
        (
            lambda store: store.list_recommendations(namespaces=["team"]),
            "ix_optimization_recommendations_current_namespace",
        ),
        (
            lambda store: store.list_recommendations(
                optimization_type=OptimizationType.COST_OPTIMIZATION, include_superseded=True
            ),
            "ix_optimization_recommendations_type",
        ),
    ],
)
async def test_listings_read_an_index_and_not_the_table(store, database, ask, index):
    plan = explained(database, "enable_seqscan", "enable_sort")
    await ask(store)
    assert f"Index Scan using {index}" in plan[0]


@pytest.mark.parametrize(
    ("superseded", "index"),
    [
        (False, "ix_optimization_recommendations_current_fleet"),
        (True, "ix_optimization_recommendations_fleet"),
    ],
)
async def test_a_fleet_is_listed_in_order_of_an_index(store, database, superseded, index):
    fleet = (await store.create_job(FleetAnalysisRequest(selector=WorkloadSelector()))).job
    plan = explained(database, "enable_seqscan", "enable_sort", first="FROM optimization_recommendations")
    await store.list_recommendations(job_id=fleet.job_id, include_superseded=superseded)
    assert f"Index Scan using {index} " in plan[0]


@pytest.mark.parametrize(
    ("wanted", "indexes"),
    [
        (
            {"service_name": "team/Web_Shop"},
            {"ix_optimization_recommendations_service", "ix_optimization_recommendations_name"},
        ),
        ({"job_id": "job"}, {"ix_optimization_recommendations_job_id"}),
    ],
)
async def test_full_names_and_jobs_are_listed_without_reading_all(store, database, wanted, indexes):
    ways = ("enable_seqscan", "enable_indexscan", "enable_hashjoin", "enable_mergejoin")
    plan = explained(database, *ways, first="FROM optimization_recommendations")
    await store.list_recommendations(**wanted, include_superseded=True)
    assert indexes <= set(re.findall(r"Bitmap Index Scan on (\w+)", plan[0]))


def explained(database, *off, first="FROM optimization_"):
    """A list to which the plan of the next statement with some text is added, made without these ways."""
    plans = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute", retval=True)
    def explain(connection, cursor, statement, parameters, context, executemany):
        if first in statement and not plans:
            for way in off:
                cursor.execute(f"SET {way} = off", ())
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(row[0] for row in cursor.fetchall()))
        return statement, parameters

    return plans
