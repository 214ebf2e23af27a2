"""/schedules and `perfopt schedule`."""

import pytest

PATH = "/api/v1/optimization/schedules"
BODY = {"name": "nightly", "cron": "0 2 * * *", "analysis": {"selector": {"namespace": "trading"}}}


def test_it_is_made_listed_and_deleted(client):
    made = client.post(PATH, json=BODY)
    assert made.status_code == 201
    assert made.json()["next_at"] == "2026-11-24T12:00:00Z"
    assert client.get(PATH).json() == [made.json()]
    assert client.post(PATH, json=BODY).status_code == 409
    assert client.delete(f"{PATH}/nightly").json() == made.json()
    assert client.get(PATH).json() == []
    assert client.delete(f"{PATH}/nightly").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"cron": None}, "cron"),
        ({"analysis": {"selector": {}, "validity": "soon"}}, "validity"),
        ({"analysis": {}}, "analysis.selector"),
    ],
)
def test_what_no_worker_could_do_is_refused(client, change, field):
    response = client.post(PATH, json=BODY | change)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field


def test_the_commands_make_list_and_delete_it(run, world):
    status, output = run(
        "schedule", "create", "nightly", "--cron", "0 2 * * *", "--namespace", "trading", "--types", "cost"
    )
    assert (status, output) == (0, "nightly: next at 2026-11-24T12:00:00Z\n")
    analysis = world.schedules.known["nightly"].analysis
    assert (analysis.selector.namespace, [kind.value for kind in analysis.optimization_types]) == (
        "trading",
        ["COST_OPTIMIZATION"],
    )
    status, output = run("schedule", "list")
    assert status == 0
    assert "nightly" in output
    assert "2026-11-24T12:00:00Z" in output
    assert run("schedule", "delete", "nightly") == (0, "Deleted nightly.\n")
    assert run("schedule", "delete", "nightly")[0] == 2
