"""The pages in Debian's Chromium, as a person uses them."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from perfopt.testing import make_snapshot
from perfopt_api.apply.moves import note
from perfopt_api.store.apply_rows import write_timeline
from perfopt_api.store.tables import jobs

from .conftest import CHROMIUM, HOSTILE, OTHER, TOKEN, WORKLOAD, serious

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get("CI"), reason="chromium is not installed"
)


async def one_week(source, found, key):
    """The history of each workload: a day's pattern in CPU, over a week of the two that are kept."""
    used = 0.2 + 0.1 * np.sin(2 * np.pi * np.arange(14 * 288) / 288)
    used[: 7 * 288] = np.nan
    return make_snapshot({"app": {"cpu_cores": used}})


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
async def test_every_page_is_accessible_and_raises_no_error(serve, browser, world, analysed, scheme, width):
    address = await serve(world.app)
    world.web.series.read = one_week
    page = await browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 844})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    made = analysed.recommendations[0].recommendation_id
    for path in (
        "/ui",
        "/ui/workloads",
        f"/ui/workload?name={WORKLOAD}",
        f"/ui/recommendations/{made}",
        f"/ui/recommendations/{made}/plan",
        f"/ui/jobs/{analysed.job_id}",
        "/ui/jobs",
        "/ui/approvals",
        "/ui/backtests",
        "/ui/fleet?price_book=example:gcp-us-central1",
        f"/ui/policies?workload={WORKLOAD}",
        "/ui/accuracy",
        "/ui/audit",
        "/ui/doctor",
        "/ui/login",
        "/ui/jobs/none",
    ):
        await page.goto(address + path)
        if "/workload?" in path:
            await page.locator(".series-part svg").first.wait_for()
            await page.get_by_text("Zoom in and read values").click()
            await page.locator(".plots canvas").first.wait_for()
        assert await serious(page) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth") == width, path
        covered = await page.evaluate(_COVERED)
        assert covered == [], path
    assert errors == []


# Of each cell that has its column's name beside it, whether that takes more height than the cell.
_COVERED = """() => [...document.querySelectorAll("td[data-label]")].filter((cell) => {
  const name = getComputedStyle(cell, "::before");
  return name.position === "absolute" || parseFloat(name.height) > cell.clientHeight + 1;
}).map((cell) => cell.dataset.label)"""


async def test_an_empty_install_is_accessible_and_analyses_a_source_at_once(serve, browser, world):
    address = await serve(world.app)
    page = await browser.new_page(color_scheme="dark", viewport={"width": 390, "height": 844})
    for path in ("/workloads", "/approvals", "/jobs", "/accuracy", "/backtests", "/audit", ""):
        await page.goto(f"{address}/ui{path}")
        assert await serious(page) == [], path
    assert f"{address}/api/v1/optimization/analyze" in await page.inner_text("main")
    await page.get_by_role("button", name="Analyse all its workloads").click()
    await page.wait_for_url("**/ui/jobs/**")
    assert len(world.queue.enqueued) == 1


async def test_filter_select_and_analyse_by_keyboard(serve, browser, world, analysed):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui/workloads")
    await page.get_by_label("Name", exact=True).focus()
    await page.keyboard.type("checkout")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**name=checkout**")
    assert await page.get_by_text(HOSTILE).count() == 0
    await page.get_by_label(f"Select {WORKLOAD}").focus()
    await page.keyboard.press("Space")
    await page.get_by_role("button", name="Analyse the selected").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/jobs/**")
    assert "ANALYZING" in await page.inner_text("main")
    assert len(world.queue.enqueued) == 1


async def test_series_load_late_and_state_their_own_error(serve, browser, world, analysed):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/workload?name={WORKLOAD}")
    await page.get_by_text("The source traces <is> away.").wait_for()


async def test_sign_in_freeze_and_copy_the_patch(serve, browser, guarded, analysed):
    address = await serve(guarded.app)
    context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    await page.goto(address + "/ui")
    assert await serious(page) == []
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Reason").fill("close of the year")
    await page.get_by_role("button", name="Freeze", exact=True).click()
    await page.get_by_text("close of the year").wait_for()
    (frozen,) = await guarded.web.pages.freezes()
    assert (frozen["scope"], frozen["principal"]) == ("*", "alice")
    await page.goto(f"{address}/ui/recommendations/{analysed.recommendations[0].recommendation_id}")
    await page.get_by_role("button", name="Copy").first.click()
    await page.get_by_role("button", name="Copied").wait_for()
    assert "cpu: 300m" in await page.evaluate("navigator.clipboard.readText()")


async def test_pages_are_read_without_scripts(serve, browser, world, analysed):
    address = await serve(world.app)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{address}/ui/workload?name={WORKLOAD}")
    assert "500m → 300m" in await page.inner_text("main")
    await page.get_by_role("link", name="Load the series").click()
    assert "away" in await page.inner_text("main")


async def sign_in(page, address, token):
    await page.goto(address + "/ui")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Overview").wait_for()


async def test_a_change_is_approved_by_somebody_else_than_who_asked(serve, browser, guarded, waiting):
    address = await serve(guarded.app)
    alice = await browser.new_page()
    await sign_in(alice, address, TOKEN)
    await alice.get_by_role("link", name="Approvals").click()
    await alice.get_by_text("You asked for this change").wait_for()
    assert await alice.get_by_role("button", name="Approve").count() == 0
    bob = await (await browser.new_context()).new_page()
    await sign_in(bob, address, OTHER)
    await bob.get_by_role("link", name="Approvals").click()
    await bob.get_by_label("Reason").fill("looks right")
    await bob.get_by_role("button", name="Approve the change").click()
    await bob.wait_for_url(f"**/ui/jobs/{waiting}")
    (approved, *_) = await guarded.web.pages.audit(subject=WORKLOAD)
    assert (approved["action"], approved["principal"], approved["reason"]) == (
        "approve",
        "bob",
        "looks right",
    )


async def test_policy_is_asked_about_a_workload_and_everything_restored(serve, browser, world, analysed):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui/policies")
    await page.get_by_role("textbox", name="Workload").fill(WORKLOAD)
    await page.get_by_role("button", name="Ask").click()
    await page.get_by_text("Changes are switched off").first.wait_for()
    restore = page.get_by_role("region", name="Restore")
    await restore.get_by_label("Scope").fill("*")
    await restore.get_by_label("Reason").fill("incident 12")
    await restore.get_by_role("button", name="Restore").click()
    await page.wait_for_url("**/ui/jobs?status=APPLYING")
    (entry,) = await world.web.pages.audit(subject="*")
    assert (entry["action"], entry["reason"]) == ("restore", "incident 12")


async def test_a_backtest_is_started_and_cancelled(serve, browser, world):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui/backtests")
    await page.get_by_label("resource").check()
    await page.get_by_label("Policies").fill("perfopt, constants")
    await page.get_by_role("button", name="Start").click()
    await page.get_by_text("QUEUED").wait_for()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_text("CANCELLED").wait_for()
    (run,) = await world.web.backtests.list(page=1, limit=10)
    assert run.request.policies == ("perfopt", "constants")


async def test_a_job_is_followed_without_reloading(serve, browser, world, waiting):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/jobs/{waiting}")
    await page.get_by_label("Reason").fill("typed while it goes on")
    entry = note(datetime.now(UTC), "dry_run", "passed", "The server accepts the change.")
    async with world.database.transaction() as connection:
        await write_timeline(connection, waiting, (entry,))
    await page.get_by_text("The server accepts the change.").wait_for()
    assert await page.get_by_label("Reason").input_value() == "typed while it goes on"
    async with world.database.transaction() as connection:
        done = update(jobs).where(jobs.c.job_id == waiting)
        await connection.execute(done.values(status="APPLIED"))
    await page.locator("#timeline .status", has_text="APPLIED").wait_for()
    assert await page.get_by_role("button", name="Abort").count() == 0
    assert await page.get_by_role("button", name="Roll back").count() == 1


async def test_a_plan_is_applied_a_few_pods_first(serve, browser, world, analysed):
    world.web.api.executor = True
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/workload?name={WORKLOAD}")
    await page.get_by_role("link", name="Exact changes and manifests").click()
    apply = page.get_by_role("form", name="Apply the change")
    await apply.get_by_label("Reason").fill("cheaper")
    await apply.get_by_role("button").dblclick()
    await page.wait_for_url("**/ui/jobs/**")
    (entry,) = await world.web.pages.audit(subject=WORKLOAD)
    assert (entry["action"], entry["reason"]) == ("apply", "cheaper")
    await page.go_back()
    await page.get_by_text("A job changes this workload now").wait_for()


async def test_a_recommendation_is_refused_and_the_audit_exported(serve, browser, world, analysed):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/recommendations/{analysed.recommendations[0].recommendation_id}/plan")
    await page.get_by_label("Reason of the refusal").fill("a batch run is due")
    await page.get_by_role("button", name="Refuse this recommendation").click()
    await page.get_by_text("a batch run is due").wait_for()
    await page.get_by_role("link", name="Audit").click()
    await page.get_by_label("Workload or scope").fill(WORKLOAD)
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("cell", name="a batch run is due").wait_for()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    text = Path(await (await download.value).path()).read_text(encoding="utf-8")
    assert text.splitlines()[0].startswith("id,at,principal,action")
    assert "refuse,trading/deployment/checkout" in text


async def test_changes_of_selected_workloads_are_queued(serve, browser, world, analysed):
    world.web.api.executor = True
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui/workloads")
    await page.get_by_role("button", name="Select all on this page").click()
    await page.get_by_label("Reason of the changes").fill("cheaper")
    await page.get_by_role("button", name="Queue changes of the selected").click()
    await page.get_by_role("heading", name="1 change queued").wait_for()
    assert await page.get_by_text("Its status is: abstained.").count() == 1
    assert await serious(page) == []


async def test_the_fleet_is_packed_within_a_budget(serve, browser, world, analysed):
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui/fleet")
    await page.get_by_label("Price book").select_option("example:gcp-us-central1")
    await page.get_by_label("Budget").fill("1000000")
    await page.get_by_role("button", name="Pack").click()
    await page.get_by_role("row", name="Within the budget").wait_for()


async def test_an_expired_session_leads_to_the_form_and_back(serve, browser, guarded, analysed):
    address = await serve(guarded.app)
    context = await browser.new_context()
    page = await context.new_page()
    await sign_in(page, address, TOKEN)
    await context.clear_cookies()
    await page.get_by_role("link", name="Audit").click()
    await page.get_by_label("Token").fill("not-the-token")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("alert").wait_for()
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Audit").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Token").wait_for()
