"""Whatever is asked below /ui is answered by a page with the same guards, wrong questions too."""

import asyncio
from urllib.parse import quote

import pytest

from perfopt.errors import UnavailableError

from .conftest import WORKLOAD, browser, shown, token_of


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ui/nothing", 404),
        ("GET", "/ui/jobs/..%2f..%2fetc", 404),
        ("GET", "/ui/%00", 404),
        ("DELETE", "/ui/jobs", 405),
        ("GET", "/ui/jobs?page=-1", 400),
        ("GET", f"/ui/jobs?page={'9' * 5000}", 400),
        ("GET", "/ui/jobs?page=1&page=2", 400),
        ("GET", "/ui/workloads?namspace=edge", 400),
        ("GET", "/ui/workloads?sort=%00", 400),
        ("GET", "/ui/workloads?name=%ff", 200),
    ],
)
async def test_what_is_wrong_with_a_question_is_said_on_a_page(client, analysed, method, path, status):
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (status, "text/html")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert status == 200 or "This did not work" in answer.text


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/ui/jobs?format=csv", "no-store"),
        ("/ui/static/dashboard.js", "public, max-age=3600"),
        ("/ui/jobs/{job}/events", "no-cache"),
        ("/ui/backtests/none/report", "no-store"),
        ("/api/v1/optimization/jobs", "no-store"),
    ],
)
async def test_every_answer_has_the_headers_that_guard_it(client, analysed, path, kept):
    answer = await client.get(path.format(job=analysed.job_id), headers={"Host": "evil.example"})
    assert answer.headers["cache-control"] == kept
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "evil.example" not in answer.text


async def test_signing_in_leads_back_to_the_page_with_its_query(guarded, analysed):
    path = f"/ui/workload?name={quote(WORKLOAD, safe='')}"
    async with browser(guarded.app) as visitor:
        form = await visitor.get(path)
        assert f'name="next" value="{path}"' in form.text
        again = await visitor.post("/ui/freeze", data={"reason": "x"})
        assert 'name="next" value="/ui"' in again.text


async def test_a_file_is_no_reason(client, analysed, world):
    token = token_of(await shown(client, "/ui"))
    sent = {"form_token": (None, token), "reason": ("reason.txt", b"x")}
    assert (await client.post("/ui/freeze", files=sent)).status_code == 415
    assert await world.web.pages.freezes() == ()


async def test_streams_go_on_through_an_outage_and_end_with_the_process(world, client, waiting, monkeypatch):
    asked = []

    async def away(job_id):
        asked.append(job_id)
        if len(asked) == 2:
            world.app.state.stop_waiting()
        raise UnavailableError("PostgreSQL is away.", remedy="Start it.")

    monkeypatch.setattr(world.web.pages, "progress", away)
    async with asyncio.timeout(10):
        answer = await client.get(f"/ui/jobs/{waiting}/events")
    assert (answer.status_code, "event:" in answer.text, len(asked)) == (200, False, 2)
