"""One address of a recommendation or a job, for programs and for people."""

import pytest

API = "/api/v1/optimization"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def api_of(recommended):
    return recommended.replace("/ui", API)


async def test_a_browser_gets_the_page_and_a_program_json(client, analysed, recommended):
    client.follow_redirects = False
    answer = await client.get(api_of(recommended), headers={"Accept": BROWSER})
    assert (answer.status_code, answer.headers["location"]) == (303, recommended)
    job = await client.get(
        f"/api/v1/optimization/jobs/{analysed.job_id}?a=b", headers={"Accept": "text/html"}
    )
    assert job.headers["location"] == f"/ui/jobs/{analysed.job_id}"
    for accept in ("*/*", "application/json", "application/json, text/html"):
        program = await client.get(api_of(recommended), headers={"Accept": accept})
        assert program.json()["recommendation_id"] == recommended.rpartition("/")[2]


async def test_a_browser_that_is_not_signed_in_is_led_to_the_form(guarded, recommended):
    from .conftest import browser

    async with browser(guarded.app) as client:
        answer = await client.get(api_of(recommended), headers={"Accept": BROWSER})
    assert answer.url.path == "/ui/login"
    assert answer.url.params["next"] == recommended


@pytest.mark.parametrize("path", ["{recommendation}/apply", f"{API}/jobs", "/docs"])
async def test_other_addresses_are_left_alone(client, recommended, path):
    client.follow_redirects = False
    answer = await client.get(
        path.format(recommendation=api_of(recommended)), headers={"Accept": "text/html"}
    )
    assert answer.status_code != 303
    posted = await client.post(api_of(recommended), headers={"Accept": "text/html"})
    assert posted.status_code != 303


async def test_what_stands_in_the_address_stays_in_it(client):
    client.follow_redirects = False
    answer = await client.get(
        "/api/v1/optimization/recommendations/..%2F..%2Fx", headers={"Accept": "text/html"}
    )
    assert answer.headers.get("location", "/ui/recommendations/..%2F..%2Fx").startswith(
        "/ui/recommendations/"
    )
