import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from perfopt_api.auth.authenticate import KEPT_SECONDS, Authenticator
from perfopt_api.auth.roles import Grant, Role
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.tokens import PostgresTokens
from perfopt_api.web.session import LIFETIME, new_session, own_path, read_session

from .conftest import OTHER, TOKEN, WORKLOAD, analyse, browser, build, made_for


@pytest.fixture
async def visitor(guarded):
    async with browser(guarded.app) as client:
        yield client


async def test_pages_lead_to_the_form_and_back(visitor, analysed):
    answer = await visitor.get("/ui/workloads")
    assert str(answer.url).endswith("/ui/login?next=/ui/workloads")
    answer = await visitor.post("/ui/login", data={"token": TOKEN, "next": "/ui/workloads"})
    assert answer.status_code == 200
    assert str(answer.url).endswith("/ui/workloads")
    assert "alice" in answer.text


async def test_cookie_is_closed_to_scripts_and_other_sites(visitor):
    answer = await visitor.post("/ui/login", data={"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie


async def test_wrong_token_is_refused(visitor):
    answer = await visitor.post("/ui/login", data={"token": "x" * 20})
    assert answer.status_code == 401
    assert "not known" in answer.text


async def test_bearer_tokens_open_lists_too(visitor, analysed):
    headers = {"Authorization": f"Bearer {OTHER}"}
    answer = await visitor.get("/ui/workloads?format=csv", headers=headers)
    assert answer.text.startswith("workload")
    assert (await visitor.get("/ui/jobs", headers={"Authorization": "Bearer no"})).status_code == 401


async def test_signing_out_ends_the_session(visitor, analysed):
    page = await visitor.post("/ui/login", data={"token": TOKEN})
    token = page.text.split('name="form_token" value="')[1].split('"')[0]
    await visitor.post("/ui/logout", data={"form_token": token})
    assert "/ui/login" in str((await visitor.get("/ui")).url)


async def test_sessions_end_with_time_and_with_the_token():
    now = datetime(2026, 11, 30, tzinfo=UTC)
    settings = ServiceSettings(api_keys={"alice": ApiKey(token=TOKEN)})

    async def read(settings, text, at=now):
        found = await read_session(Authenticator(settings), settings, text, at)
        return None if found is None else found[0]

    session, text = new_session(settings, Authenticator(settings).key_holder("alice"), now)
    assert await read(settings, text) == session
    assert await read(settings, text, now + LIFETIME) is None
    assert await read(settings, text, now + LIFETIME - timedelta(seconds=1)) == session
    assert await read(ServiceSettings(api_keys={"alice": ApiKey(token=OTHER)}), text) is None
    assert await read(ServiceSettings(api_keys={"bob": ApiKey(token=TOKEN)}), text) is None
    assert await read(settings, text[:-4] + "AAA=") is None
    assert await read(settings, "no.cookie") is None
    assert await read(ServiceSettings(), text) is None
    elsewhere = ServiceSettings(api_keys=settings.api_keys, session_secret="another secret of ours")
    assert await read(elsewhere, text) is None


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("/ui/jobs", "/ui/jobs"),
        ("https://evil.example", "/ui"),
        ("//evil.example", "/ui"),
        ("/ui/\\x", "/ui"),
        ("", "/ui"),
    ],
)
def test_login_leads_on_to_own_pages_only(given, own):
    assert own_path(given) == own


@pytest.fixture
async def shop(database):
    """A visitor whose token is of the namespace `shop` only."""
    keys = {"sam": ApiKey(token=TOKEN, namespaces=("shop",))}
    app = build(database, ServiceSettings(requests_per_second=100_000, api_keys=keys)).app
    async with browser(app) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.mark.parametrize("page", ["workload", "workload/series", "workload/series.json"])
async def test_a_second_name_opens_no_other_namespace(shop, analysed, page):
    names = ("shop/deployment/web", WORKLOAD)
    for first, second in (names, names[::-1]):
        assert (await shop.get(f"/ui/{page}?name={first}&name={second}")).status_code == 403


async def test_filters_name_no_other_namespace(shop, analysed, database):
    text = (await shop.get("/ui/workloads")).text
    assert "trading" not in text
    assert "edge" not in text
    await analyse(database, made_for("shop/deployment/web"), workload="shop/deployment/web")
    assert "<option>shop</option>" in (await shop.get("/ui/workloads")).text


async def test_the_stream_of_a_job_ends_with_the_token(database, waiting):
    made = build(database, ServiceSettings(requests_per_second=100_000, auth="on"))
    tokens, now, clock = PostgresTokens(database), datetime.now(UTC), [0.0]
    record, text = await tokens.create("vera", Grant(role=Role.VIEWER), now + timedelta(hours=1), "test")
    settings = made.web.api.settings
    made.app.state.auth = Authenticator(settings, tokens, monotonic=lambda: clock[0])

    async def revoke():
        await asyncio.sleep(1.2)  # the stream tells what there is first
        await tokens.revoke(record.token_id, "test")
        clock[0] += KEPT_SECONDS

    async with browser(made.app) as client, asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(revoke())
        headers = {"Authorization": f"Bearer {text}"}
        answer = await client.get(f"/ui/jobs/{waiting}/events", headers=headers)
        assert re.findall(r"event: (\w+)", answer.text) == ["changed"]
        assert (await client.get(f"/ui/jobs/{waiting}/events", headers=headers)).status_code == 401
