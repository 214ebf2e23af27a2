"""POST /analyze/fleet, its job, and the commands for both."""

import msgspec
import pytest

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import FleetProgress

PREFIX = "/api/v1/optimization"
PATH = f"{PREFIX}/analyze/fleet"


def test_answers_at_once_with_a_job_that_a_worker_is_woken_for(client, world):
    response = client.post(PATH, json={"selector": {"namespace": "trading", "labels": {"tier": "1"}}})
    job = response.json()
    assert response.status_code == 202
    assert (job["status"], job["service_name"]) == ("ANALYZING", "namespace=trading tier=1")
    assert response.headers["location"].endswith(job["job_id"])
    assert world.queue.enqueued == [job["job_id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "selector"),
        ({"selector": {"namespaces": ["a"]}}, "namespaces"),
        ({"selector": {"namespace": " "}}, "selector.namespace"),
        ({"selector": {"names": ["\n"]}}, "selector.names"),
        ({"selector": {"labels": {"a": "\x00"}}}, "selector.labels"),
        ({"selector": {}, "analysis_period": "soon"}, "analysis_period"),
        ({"selector": {}, "source": "nowhere"}, "source"),
    ],
)
def test_what_no_worker_could_do_is_refused(client, world, body, field):
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field
    assert not world.store.jobs


def test_analyses_and_recommendations_are_listed_by_fleet(client, world, make_recommendation):
    world.store.add(make_recommendation(), job_id="one")
    world.store.jobs["one"] = msgspec.structs.replace(world.store.jobs["one"], fleet_id="fleet")
    assert client.get(f"{PREFIX}/jobs").json() == []
    assert [job["job_id"] for job in client.get(f"{PREFIX}/jobs?fleet_id=fleet").json()] == ["one"]
    listed = client.get(f"{PREFIX}/recommendations?job_id=one").json()
    assert [made["recommendation_id"] for made in listed] == [make_recommendation().recommendation_id]
    assert client.get(f"{PREFIX}/recommendations?job_id=two").json() == []


def test_cancelled_it_is_failed(client):
    job = client.post(PATH, json={"selector": {}}).json()
    response = client.post(f"{PREFIX}/jobs/{job['job_id']}/cancel")
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["error"]["code"]) == ("FAILED", "cancelled")


def test_the_command_asks_for_what_its_options_say(run, world, client):
    status, output = run(
        "analyze-fleet", "--namespace", "trading", "--label", "tier=1", "--types", "cost,scaling"
    )
    assert status == 0
    job = world.store.jobs[output.strip()]
    assert job.service_name == "namespace=trading tier=1"
    assert [kind.value for kind in job.optimization_types] == ["COST_OPTIMIZATION", "SCALING_OPTIMIZATION"]


def test_a_label_without_a_value_is_refused(run):
    status, output = run("analyze-fleet", "--label", "tier")
    assert status == 2
    assert "--label takes NAME=VALUE" in output


@pytest.mark.parametrize(("ended", "code"), [("RECOMMENDATIONS_READY", 0), ("FAILED", 1)])
def test_waiting_it_prints_what_came_of_it(run, world, monkeypatch, ended, code):
    create = world.store.create_job

    async def finished(*words, **more):
        created = await create(*words, **more)
        progress = FleetProgress(workloads=3, analysed=2, failed=1, unchanged=1, recommendations=4)
        job = msgspec.structs.replace(created.job, status=OptimizationStatus(ended), progress=progress)
        world.store.jobs[job.job_id] = job
        return created

    monkeypatch.setattr(world.store, "create_job", finished)
    status, output = run("analyze-fleet", "--wait")
    assert status == code
    line = f"{ended}: 3 workloads, 2 analysed (1 unchanged), 1 failed, 4 recommendations"
    assert line in output
