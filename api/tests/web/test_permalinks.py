"""One address of a recommendation or a job, for programs and for people."""

import pytest

RECOMMENDATION = "/api/v1/optimization/recommendations/opt_20261130_001"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_gets_the_page_and_a_program_json(client, analysed):
    client.follow_redirects = False
    answer = await client.get(RECOMMENDATION, headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/ui/recommendations/opt_20261130_001",
    )
    job = await client.get(
        f"/api/v1/optimization/jobs/{analysed.job_id}?a=b", headers={"Accept": "text/html"}
    )
    assert job.headers["location"] == f"/ui/jobs/{analysed.job_id}"
    for accept in ("*/*", "application/json", "application/json, text/html"):
        found = await client.get(RECOMMENDATION, headers={"Accept": accept})
        assert found.json()["recommendation_id"] == "opt_20261130_001"


async def test_a_browser_that_is_not_signed_in_is_led_to_the_form(guarded, analysed):
    from .conftest import browser

    async with browser(guarded.app) as client:
        answer = await client.get(RECOMMENDATION, headers={"Accept": BROWSER})
    assert answer.url.path == "/ui/login"
    assert answer.url.params["next"] == "/ui/recommendations/opt_20261130_001"


@pytest.mark.parametrize("path", [f"{RECOMMENDATION}/apply", "/api/v1/optimization/jobs", "/docs"])
async def test_other_addresses_are_left_alone(client, path):
    client.follow_redirects = False
    answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code != 303
    posted = await client.post(RECOMMENDATION, headers={"Accept": "text/html"})
    assert posted.status_code != 303


async def test_what_stands_in_the_address_stays_in_it(client):
    client.follow_redirects = False
    answer = await client.get(
        "/api/v1/optimization/recommendations/..%2F..%2Fx", headers={"Accept": "text/html"}
    )
    assert answer.headers.get("location", "/ui/recommendations/..%2F..%2Fx").startswith(
        "/ui/recommendations/"
    )
