"""The fleet view over the API: packed from the recommendations in force."""

import pytest

from perfopt.domain.recommendation import Plan, PlanStep

API = "/api/v1/optimization"


def test_recommendations_in_force_are_packed_before_and_after(client, world, make_recommendation):
    world.store.add(
        make_recommendation(1),
        make_recommendation(2),
        make_recommendation(3, superseded_by="opt_20261123_002"),
    )
    response = client.get(f"{API}/fleet?price_book=example:gcp-us-central1")
    assert response.status_code == 200
    view = response.json()
    assert (view["price_book"], view["currency"]) == ("example-gcp-us-central1", "USD")
    assert view["workloads"] + len(view["left_out"]) == 1  # both are of one workload
    for side in (view["current"], view["recommended"]):
        assert side["bound_month"] <= side["packed_cost_month"]
        assert sum(side["nodes"].values()) == side["node_count"]


def plan_of(*made, replicas):
    """Returns a plan that merges recommendations into a state with so many replicas."""
    first = made[0]
    return Plan(
        description="Both.",
        current_state=first.current_state,
        recommended_state={**first.recommended_state, "replicas": replicas},
        expected_improvement=first.expected_improvement,
        confidence_detail=first.confidence_detail,
        evidence=first.evidence,
        price_book=first.price_book,
        currency=first.currency,
        monthly_cost_current=20.0,
        monthly_cost_recommended=10.0,
        steps=tuple(
            PlanStep(
                recommendation_id=one.recommendation_id,
                optimization_type=one.optimization_type,
                changes={},
                reason="In turn.",
            )
            for one in made
        ),
    )


def test_the_merged_plan_is_what_is_packed_while_all_of_it_is_in_force(client, world, make_recommendation):
    book = "price_book=example:gcp-us-central1"
    one, other = make_recommendation(1), make_recommendation(2)
    world.store.add(one, other, plan=plan_of(one, other, replicas=2))
    assert client.get(f"{API}/fleet?{book}").json()["recommended"]["pods"] == 2
    newer = make_recommendation(3)
    superseded = make_recommendation(2, superseded_by="opt_20261123_003")
    world.store.add(one, superseded, plan=plan_of(one, other, replicas=2))
    world.store.add(newer, job_id="job_later")
    assert client.get(f"{API}/fleet?{book}").json()["recommended"]["pods"] == 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "The price book 'gcp-e2-us-central1' knows no node types."),
        ("?price_book=nope", "There is no price book 'nope'."),
        ("?price_book=example:nope", "There is no example price book 'nope'"),
    ],
)
def test_a_book_that_will_not_do_is_refused(client, query, message):
    response = client.get(f"{API}/fleet{query}")
    assert response.status_code == 400
    assert message in response.json()["detail"]


def test_a_budget_says_which_changes_are_enough(client, world, make_recommendation):
    world.store.add(make_recommendation(1))
    query = f"{API}/fleet?price_book=example:gcp-us-central1"
    cost = client.get(query).json()["current"]["packed_cost_month"]
    kept = client.get(f"{query}&budget={cost + 1}").json()["budget"]
    assert (kept["met"], kept["change"], len(kept["leave"])) == (True, [], 1)
    assert client.get(f"{query}&budget=1").json()["budget"]["met"] is False
    assert client.get(f"{query}&budget=0").status_code == 400


def test_no_recommendations_are_an_empty_fleet(client):
    view = client.get(f"{API}/fleet?price_book=example:aws-us-east-1").json()
    assert (view["workloads"], view["saving_month"], view["current"]["node_count"]) == (0, 0.0, 0)
