"""More tasks of pages in Chromium: preflight, another trade, times, accuracy, doctor, a narrow window."""

import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from perfopt.domain.recommendation import Reason
from perfopt_api.apply.preflight import PreflightFinding, PreflightReport
from perfopt_api.store.tables import jobs, outcomes

from .conftest import CHROMIUM, WORKLOAD, analyse, made_for, serious

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get("CI"), reason="chromium is not installed"
)


async def test_the_preflight_is_run_before_applying_and_names_what_stands_against_it(
    serve, browser, world, analysed
):
    world.web.api.executor = True
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/recommendations/{analysed.recommendations[0].recommendation_id}/plan")
    await page.get_by_role("button", name="Run the preflight").click()
    await page.get_by_text("No worker that may change the cluster runs.").wait_for()
    refused = PreflightFinding(outcome="refused", code="quota_exceeded", message="The <quota> is 4 cores.")
    world.web.preflight.answer = PreflightReport(at=datetime.now(UTC), findings=(refused,))
    await page.get_by_role("button", name="Run the preflight again").click()
    await page.get_by_text("The <quota> is 4 cores.").wait_for()
    assert "Not passed" in await page.inner_text("#preflight")
    passed = PreflightFinding(outcome="passed", code="gates", message="Every gate is open.")
    world.web.preflight.answer = PreflightReport(at=datetime.now(UTC), findings=(passed,))
    await page.get_by_role("button", name="Run the preflight again").click()
    await page.get_by_text("Every gate is open.").wait_for()
    assert await serious(page) == []
    assert [request.workload for request in world.web.preflight.asked] == [WORKLOAD] * 3
    assert await page.get_by_role("form", name="Apply the change").count() == 1


async def test_another_trade_of_the_frontier_shows_what_it_changes(serve, browser, world, database):
    points = [
        {"confidence": one, "cost_change_percent": cost, "containers": {"app": {"cpu_request": size}}}
        for one, cost, size in ((0.8, -60.0, "200m"), (0.95, -20.0, "400m"))
    ]
    frontier = Reason(code="frontier", text="Others.", data={"points": points, "relative_to": "current"})
    made = made_for(WORKLOAD, reasons=(frontier,))
    job = await analyse(database, made)
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(f"{address}/ui/recommendations/{job.recommendations[0].recommendation_id}")
    await page.get_by_role("link", name="See what changes at 0.95").click()
    await page.get_by_role("heading", name="At confidence 0.95").wait_for()
    chosen = page.get_by_role("region", name="What the chosen trade changes")
    assert "400m" in await chosen.inner_text()
    assert await serious(page) == []
    await page.get_by_role("link", name="Back to what is recommended").click()
    await page.wait_for_url("**/recommendations/*")
    assert await chosen.count() == 0


async def test_times_are_shown_in_the_zone_of_the_reader_and_in_utc_on_request(
    serve, browser, world, analysed
):
    address = await serve(world.app)
    context = await browser.new_context(timezone_id="Asia/Tokyo", locale="en-US")
    page = await context.new_page()
    await page.goto(f"{address}/ui/workload?name={WORKLOAD}")
    first = page.locator("main time").first
    local, utc = await first.inner_text(), await first.get_attribute("title")
    assert utc.endswith("Z")
    assert local != utc
    await page.get_by_text("Times are in Asia/Tokyo.").wait_for()
    await page.get_by_role("button", name="Show UTC").click()
    assert await first.inner_text() == utc
    await page.get_by_role("link", name="Workloads", exact=True).click()
    await page.get_by_text("Times are in UTC.").wait_for()
    assert (await page.locator("main time").first.inner_text()).endswith("Z")


async def test_accuracy_is_read_by_strategy_and_what_was_realised(serve, browser, world, analysed):
    async with world.database.transaction() as connection:
        due = update(outcomes).values(
            status="scored", scored_at=datetime.now(UTC), accurate=True, stated=0.9, saving=40.0,
            currency="USD", strategy="resource/resource", applied=True,
        )  # fmt: skip
        await connection.execute(due)
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui")
    await page.get_by_role("link", name="Accuracy", exact=True).click()
    row = page.get_by_role("row", name="resource/resource")
    await row.wait_for()
    assert "80.00 USD" in await row.inner_text()


async def test_doctor_leads_from_what_is_broken_to_its_remedy(serve, browser, world, analysed):
    async with world.database.transaction() as connection:
        failed = {"code": "source_error", "message": "The source is away.", "remedy": "Start it."}
        broken = update(jobs).where(jobs.c.job_id == analysed.job_id)
        await connection.execute(broken.values(status="FAILED", error=failed))
    address = await serve(world.app)
    page = await browser.new_page()
    await page.goto(address + "/ui")
    await page.get_by_role("link", name="1 job failed within a day").click()
    await page.get_by_role("link", name="Doctor", exact=True).click()
    await page.get_by_text("Everybody may use the API. Set service.auth to on.").wait_for()
    await page.get_by_role("link", name="checkout").click()
    await page.get_by_text("Start it.").wait_for()


@pytest.mark.parametrize("path", ["/ui/workloads", "/ui/policies", "/ui/jobs", "/ui/audit", "/ui/backtests"])
async def test_no_window_needs_scrolling_sideways(serve, browser, world, analysed, path):
    address = await serve(world.app)
    page = await browser.new_page()
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 844})
        await page.goto(address + path)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate(
            "[...document.querySelectorAll('.wide')].every(e => e.scrollWidth <= e.clientWidth + 1)"
        )
    assert await serious(page) == []
