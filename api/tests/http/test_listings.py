"""Looking at jobs, recommendations and plugins."""

import re

import pytest

API = "/api/v1/optimization"


def follow(client, response):
    """Returns the next page that the header Link names, or None."""
    match = re.fullmatch(r'<(?P<url>[^>]+)>; rel="next"', response.headers.get("link", ""))
    return client.get(match["url"]) if match else None


def pages(client, path):
    response = client.get(path)
    while response is not None:
        assert response.status_code == 200
        yield response.json()
        response = follow(client, response)


def test_recommendations_are_a_bare_array_in_pages(client, world, make_recommendation):
    world.store.add(*(make_recommendation(number) for number in range(1, 6)))
    found = list(pages(client, f"{API}/recommendations?limit=2"))
    assert [len(page) for page in found] == [2, 2, 1]
    numbers = [item["recommendation_id"][-3:] for page in found for item in page]
    assert numbers == ["005", "004", "003", "002", "001"]


def test_the_next_page_keeps_the_filters(client, world, make_recommendation):
    world.store.add(*(make_recommendation(number) for number in range(1, 4)))
    world.store.add(make_recommendation(9, service_name="other & more"))
    query = "?service_name=portfolio_management_service&limit=1&optimization_type=RESOURCE_OPTIMIZATION"
    found = [item for page in pages(client, f"{API}/recommendations{query}") for item in page]
    assert len(found) == 3


def test_superseded_ones_are_shown_on_request_only(client, world, make_recommendation):
    world.store.add(make_recommendation(1, superseded_by="opt_20261123_002"), make_recommendation(2))
    assert len(client.get(f"{API}/recommendations").json()) == 1
    assert len(client.get(f"{API}/recommendations?include=superseded").json()) == 2


def test_a_recommendation_has_the_seeds_fields(client, world, make_recommendation):
    world.store.add(make_recommendation())
    shown = client.get(f"{API}/recommendations/opt_20261123_001").json()
    assert list(shown)[:7] == [
        "recommendation_id",
        "service_name",
        "optimization_type",
        "description",
        "current_state",
        "recommended_state",
        "expected_improvement",
    ]
    assert list(shown["expected_improvement"]) == [
        "performance_gain_percent",
        "cost_reduction_percent",
        "latency_reduction_ms",
        "confidence",
    ]


def test_jobs_are_listed_by_service_and_status(client, world, make_recommendation):
    client.post(f"{API}/analyze", json={"service_name": "orders"})
    world.store.add(make_recommendation())
    assert len(client.get(f"{API}/jobs").json()) == 2
    [job] = client.get(f"{API}/jobs?status=ANALYZING").json()
    assert job["service_name"] == "orders"
    assert client.get(f"{API}/jobs?service_name=orders&status=FAILED").json() == []
    assert [len(page) for page in pages(client, f"{API}/jobs?limit=1")] == [1, 1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/jobs/nope", "There is no job 'nope'."),
        ("/recommendations/nope", "There is no recommendation 'nope'."),
    ],
)
def test_what_is_not_there_is_a_404_that_says_so(client, path, message):
    response = client.get(API + path)
    assert response.status_code == 404
    assert response.json()["type"] == "/problems/not_found"
    assert message in response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("/jobs?status=DONE", "status", "One of ANALYZING, RECOMMENDATIONS_READY"),
        ("/jobs?limit=0", "limit", ">= 1"),
        ("/jobs?limit=501", "limit", "<= 500"),
        ("/jobs?limit=many", "limit", "Expected `int`, got `str`"),
        ("/jobs?cursor=%00", "cursor", "cursor"),
        ("/jobs?service_name=a%00", "service_name", "control character"),
        ("/jobs/a%00", "job_id", "control character"),
        ("/recommendations?optimization_type=SPEED", "optimization_type", "One of RESOURCE_OPTIMIZATION"),
        ("/recommendations?include=all", "include", "One of superseded."),
        ("/recommendations?cursor=x", "cursor", "malformed"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(client, query, field, message):
    response = client.get(API + query)
    assert response.status_code == 400
    problem = response.json()
    assert message in problem["detail"]
    assert problem["errors"][0]["field"] == field


def test_plugins_are_listed_with_why_one_failed(client, world):
    listed = client.get(f"{API}/plugins").json()
    assert [(plugin["name"], plugin["status"]) for plugin in listed] == [
        ("resource", "loaded"),
        ("broken", "failed"),
    ]
    assert listed[0]["types"] == ["RESOURCE_OPTIMIZATION"]
    assert "ImportError" in listed[1]["error"]
    client.get(f"{API}/plugins")
    assert world.probes == 1  # it starts a process: not at every request


def test_the_host_of_a_request_is_not_repeated(client, world, make_recommendation):
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    answer = client.post(f"{API}/analyze", json={"service_name": "x"}, headers=evil)
    assert answer.headers["location"].startswith(f"{API}/jobs/")
    world.store.add(make_recommendation(1), make_recommendation(2))
    answer = client.get(f"{API}/recommendations?limit=1", headers=evil)
    assert answer.headers["link"] == f'<{API}/recommendations?limit=1&cursor=1>; rel="next"'


def test_a_list_says_how_many_there_are(client, world, make_recommendation):
    world.store.add(make_recommendation(1), make_recommendation(2), make_recommendation(3))
    for query in ("?limit=1", "?limit=1&cursor=2", ""):
        assert client.get(f"{API}/recommendations{query}").headers["x-total-count"] == "3"
    assert client.get(f"{API}/jobs").headers["x-total-count"] == "1"


class TestBehindAProxy:
    @pytest.fixture
    def settings(self, settings):
        import msgspec

        return msgspec.structs.replace(settings, base_url="https://perfopt.example/base/")

    def test_links_lead_there(self, client, world, make_recommendation):
        location = client.post(f"{API}/analyze", json={"service_name": "x"}).headers["location"]
        assert location.startswith(f"https://perfopt.example/base{API}/jobs/")
        world.store.add(make_recommendation(1), make_recommendation(2))
        link = client.get(f"{API}/recommendations?limit=1").headers["link"]
        assert link == f'<https://perfopt.example/base{API}/recommendations?limit=1&cursor=1>; rel="next"'


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        (
            "recommendations?service=web",
            "Known: cursor, include, job_id, limit, optimization_type, service_name.",
        ),
        ("jobs?servicename=web", "Known: cursor, fleet_id, limit, service_name, status."),
        ("accuracy?type=x", "Known: optimization_type, service_name."),
        ("models?name=x", "Known: kind."),
        ("plugins?all=1", "This address takes none."),
        ("jobs/job_1?job_id=2", "This address takes none."),
    ],
)
def test_a_parameter_that_nothing_reads_is_refused_by_name(client, path, remedy):
    response = client.get(f"/api/v1/optimization/{path}")
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert error["field"] == path.partition("?")[2].partition("=")[0]
    assert error["remedy"] == remedy
