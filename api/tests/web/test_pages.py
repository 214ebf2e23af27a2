import html
import re
from importlib.resources import files
from urllib.parse import quote

import pytest
from sqlalchemy import func, update

from perfopt_api.settings import ServiceSettings
from perfopt_api.store.apply_port import Freeze
from perfopt_api.store.dashboard import PageStore
from perfopt_api.store.tables import jobs, outcomes

from .conftest import HOSTILE, WORKLOAD, browser, build, shown, token_of


async def test_empty_install_says_what_to_do_next(client):
    text = await shown(client, "/ui")
    assert "perfopt worker" in text
    assert "http://perfopt.test/api/v1/optimization/analyze" in text
    assert "No workload matches" in await shown(client, "/ui/workloads?name=x")


async def test_empty_install_analyses_a_whole_source_from_the_page(client, world):
    token = token_of(await shown(client, "/ui"))
    started = await client.post("/ui/analyse/all", data={"form_token": token, "source": "traces"})
    assert started.status_code == 200
    assert "ANALYZING" in started.text
    (job_id,) = world.queue.enqueued
    assert await world.web.pages.source_of_job(job_id) == "traces"
    unknown = await client.post("/ui/analyse/all", data={"form_token": token, "source": "none"})
    assert (unknown.status_code, len(world.queue.enqueued)) == (400, 1)


@pytest.mark.parametrize(
    ("path", "next_step"),
    [
        ("/ui/workloads", "Nothing is analysed yet."),
        ("/ui/jobs", "Analyse a workload"),
        ("/ui/approvals", "A change comes here once somebody"),
        ("/ui/fleet?price_book=example:gcp-us-central1", "Analyse some first."),
    ],
)
async def test_empty_list_leads_to_what_fills_it(client, path, next_step):
    assert next_step in await shown(client, path)


@pytest.mark.parametrize("path", ["/ui/nope", "/ui/nope/deeper", "/ui/static/nope.css"])
async def test_address_without_a_page_is_answered_by_a_page(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "There is no such page." in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert '<html lang="en"' in answer.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/ui/freeze"), ("POST", "/ui/fleet")])
async def test_wrong_method_is_answered_by_a_page_and_of_the_api_by_a_problem(client, method, path):
    answer = await client.request(method, path)
    assert (answer.status_code, "<h1>" in answer.text) == (405, True)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    of_api = await client.put("/api/v1/optimization/analyze")
    assert of_api.headers["content-type"] == "application/problem+json"


async def test_bare_address_leads_to_the_dashboard(client):
    answer = await client.get("/", follow_redirects=False)
    assert answer.headers["location"] == "/ui"


async def test_overview_adds_up_savings_and_statuses(client, analysed):
    text = await shown(client, "/ui")
    assert "40.00" in text
    assert "-40 %" in text
    assert WORKLOAD in text
    assert "None" not in text.replace("<p>None.</p>", "")


@pytest.mark.parametrize(
    "path",
    [
        "/ui",
        "/ui/workloads",
        "/ui/approvals",
        "/ui/jobs",
        "/ui/accuracy",
        "/ui/backtests",
        "/ui/fleet",
        f"/ui/policies?workload={WORKLOAD}",
        "/ui/audit",
        "/ui/doctor",
        "/ui/doctor/plugins",
    ],
)
async def test_every_page_has_a_strict_policy_and_no_inline_script(client, analysed, path):
    answer = await client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)", answer.text)
    assert " style=" not in answer.text
    assert not re.search(r" on\w+=\"", answer.text)


async def test_markup_in_names_stays_text(client, analysed):
    for path in ("/ui/workloads", f"/ui/workload?name={quote(HOSTILE)}", "/ui/jobs"):
        text = await shown(client, path)
        assert "<img" not in text
        assert "&lt;img" in text


async def test_approvals_are_given_as_csv(client, waiting):
    lines = (await shown(client, "/ui/approvals?format=csv")).splitlines()
    assert len(lines) == 2
    assert f"{waiting},{WORKLOAD},alice" in lines[1]


async def test_lists_of_a_workload_are_given_as_csv_as_the_page_shows_them(client, waiting, recommended):
    page = await shown(client, f"/ui/workload?name={WORKLOAD}")
    made = recommended.rpartition("/")[2]
    for path, first, known in (
        ("recommendations.csv", "recommendation_id,", made),
        ("changes.csv", "job_id,status,", waiting),
    ):
        assert f'href="/ui/workload/{path}?name=' in page
        assert known in page
        header, row = (await shown(client, f"/ui/workload/{path}?name={WORKLOAD}")).splitlines()
        assert header.startswith(first)
        assert row.startswith(known)
    await shown(client, "/ui/workload/changes.csv?name=none", 404)


async def test_the_csv_of_workloads_has_the_rows_of_the_page_in_its_order(client, analysed):
    for query in ("sort=saving", "sort=name&status=change", "namespace=edge"):
        page = await shown(client, f"/ui/workloads?{query}")
        lines = (await shown(client, f"/ui/workloads?{query}&format=csv")).splitlines()
        names = [html.unescape(name) for name in re.findall(r'name="name" value="([^"]+/[^"]+)"', page)]
        assert [line.split(",")[0] for line in lines[1:]] == names != []


async def test_freeze_needs_a_reason_and_is_lifted(client, world, analysed):
    token = token_of(await shown(client, "/ui"))
    assert (await client.post("/ui/freeze", data={"form_token": token})).status_code == 400
    form = {"form_token": token, "scope": "trading", "reason": "close <of> year"}
    assert "close &lt;of&gt; year" in (await client.post("/ui/freeze", data=form)).text
    assert "close &lt;of&gt; year" in await shown(client, "/ui/audit")
    await client.post("/ui/unfreeze", data={"form_token": token, "scope": "trading"})
    assert await world.web.pages.freezes() == ()


async def test_forms_of_other_sites_are_refused(client, world, analysed):
    token = token_of(await shown(client, "/ui"))
    form = {"form_token": token, "reason": "x"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await client.post("/ui/freeze", data=form, headers=headers)).status_code == 403
    assert (await client.post("/ui/freeze", data=form | {"form_token": "x"})).status_code == 403
    assert await world.web.pages.freezes() == ()


async def test_job_and_doctor_show_failures(client, analysed):
    text = await shown(client, f"/ui/jobs/{analysed.job_id}")
    assert "RECOMMENDATIONS_READY" in text
    assert "Everybody may use the API" in await shown(client, "/ui/doctor")


@pytest.mark.parametrize("path", ["/ui/jobs/none", "/ui/recommendations/none", "/ui/workload?name=none"])
async def test_what_is_not_there_is_said_on_a_page(client, path):
    text = await shown(client, path, 404)
    assert "This did not work" in text


async def test_frozen_scope_is_listed_on_the_overview(client, world, analysed):
    await world.web.api.applies.set_freeze(Freeze(scope="*", reason="release"))
    assert "Everything" in await shown(client, "/ui")


async def test_outcomes_are_added_up_by_strategy_class_and_week(database, analysed):
    pages = PageStore(database)
    assert await PageStore(database).recorded() == {"strategy": (), "service class": (), "week": ()}
    async with database.transaction() as connection:
        done = {"status": "scored", "accurate": True, "scored_at": func.now(), "strategy": "resource"}
        await connection.execute(update(outcomes).values(done))
    found = await pages.recorded()
    assert {group: sum(row["scored"] for row in rows) for group, rows in found.items()} == {
        "strategy": 2,
        "service class": 2,
        "week": 2,
    }
    assert [row["name"] for row in found["strategy"]] == ["resource"]


async def test_pages_do_not_wait_for_sums_of_all_outcomes(client, world, analysed, monkeypatch):
    async def slow(*_):
        return None

    monkeypatch.setattr(world.web.pages._sums, "rows", slow)
    assert "being added up" in await shown(client, "/ui")
    assert "being added up" in await shown(client, "/ui/accuracy")
    refused = await shown(client, "/ui/accuracy?format=csv", 503)
    assert "Try again in a few seconds" in refused


async def test_style_rules_stand_outside_of_what_is_for_print(client):
    style = (await client.get("/ui/static/dashboard.css")).text
    assert style.count("{") == style.count("}")
    assert style.index("@media print") < style.index("header {")
    before = style[: style.index("header {")]
    assert before.count("{") == before.count("}")


async def test_policies_say_of_a_change_what_every_rule_says(client, world, analysed):
    await world.web.api.applies.set_freeze(Freeze(scope="trading", reason="audit week", principal="carol"))
    text = await shown(client, f"/ui/policies?workload={WORKLOAD}")
    assert text.count("Changes are switched off: policy.apply is off.") == 2  # by a person, and by itself
    assert "It is frozen: audit week." in text
    assert "Frozen by carol (trading)" in text
    assert "largest_step_down" in text
    assert "protected-namespaces" in text


async def test_restoring_needs_a_scope_and_a_reason(client, world, analysed):
    token = token_of(await shown(client, "/ui/policies"))
    refused = await client.post("/ui/restore", data={"form_token": token, "scope": "trading"})
    assert (refused.status_code, "needs a scope and a reason" in refused.text) == (400, True)
    answer = await client.post("/ui/restore", data={"form_token": token, "scope": "trading", "reason": "x"})
    assert answer.status_code == 200
    (entry,) = await world.web.pages.audit(subject="trading")
    assert (entry["action"], entry["reason"]) == ("restore", "x")


async def test_fleet_is_packed_by_a_chosen_price_book_and_within_a_budget(client, analysed):
    text = await shown(client, "/ui/fleet")
    assert "example:gcp-us-central1" in text
    packed = await shown(client, "/ui/fleet?price_book=example:gcp-us-central1&budget=1000000")
    assert "Within the budget" in packed
    wrong = await client.get("/ui/fleet?price_book=example:gcp-us-central1&budget=much")
    assert (wrong.status_code, "is no budget" in wrong.text) == (400, True)


async def test_approvals_show_the_evidence_and_offer_nothing_to_nobody(client, waiting):
    text = await shown(client, "/ui/approvals")
    assert "Lower the CPU request" in text
    assert "It waits for 1 approval(s) of another principal." in text
    assert "Nobody is signed in, so nobody can approve" in text
    assert "Approve the change" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/ui",
        "/ui/workloads",
        f"/ui/workload?name={WORKLOAD}",
        "/ui/approvals",
        "/ui/backtests",
        "/ui/policies",
        "/ui/jobs/{waiting}",
        "{plan}",
    ],
)
async def test_a_viewer_is_offered_nothing_that_a_viewer_may_not_do(viewed, waiting, plan, path):
    text = await shown(viewed, path.format(waiting=waiting, plan=plan))
    posts = re.findall(r'<form method="post" action="([^"]+)"(?:(?!</form>).)*<button', text, re.S)
    assert set(posts) <= {"/ui/logout"}
    assert "formaction" not in text


async def test_pages_link_to_grafana_where_its_address_is_set(client, database):
    assert "Grafana" not in await shown(client, "/ui/doctor")
    address = "https://grafana.example/d/perfopt"
    settings = ServiceSettings(requests_per_second=100_000, grafana_url=address)
    async with browser(build(database, settings).app) as own:
        assert f'<a href="{address}" rel="noreferrer">Grafana</a>' in await shown(own, "/ui/doctor")


async def test_unsafe_days_are_not_counted_before_any_is_scored(client, analysed):
    text = await shown(client, "/ui")
    assert "none scored yet" in text
    assert "0 of 0" not in text


@pytest.mark.parametrize("remedy", [{}, {"remedy": "Watch for longer."}, {"remedy": None}])
async def test_a_job_that_failed_says_why_and_what_helps_where_that_is_known(
    client, database, waiting, remedy
):
    error = {"code": "verification_failed", "message": "Harm is shown."} | remedy
    async with database.transaction() as connection:
        failed = update(jobs).where(jobs.c.job_id == waiting)
        await connection.execute(failed.values(status="ROLLED_BACK", error=error))
    text = await shown(client, f"/ui/jobs/{waiting}")
    assert "Harm is shown." in text
    assert "<code>verification_failed</code>" in text
    assert ("Watch for longer." in text) == (remedy.get("remedy") is not None)


async def test_a_rule_pack_is_checked_with_the_line_of_each_problem(client):
    text = (files("perfopt.rules") / "packs/floors.yaml").read_text(encoding="utf-8")
    form = {"form_token": token_of(await shown(client, "/ui/policies")), "pack": text}
    assert "floors 1.0.0 is valid" in (await client.post("/ui/policies/check", data=form)).text
    wrong = await client.post("/ui/policies/check", data=form | {"pack": text.replace("kind:", "<kind>:", 1)})
    assert "pack.yaml" in wrong.text
    assert "/tmp/" not in wrong.text
    assert "&lt;kind&gt;" in wrong.text
    assert (await client.post("/ui/policies/check", data=form | {"pack": " "})).status_code == 400
