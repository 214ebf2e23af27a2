from datetime import timedelta

import pytest

from .conftest import shown, token_of

BACKTEST = {
    "source": "traces",
    "services": 3,
    "origins": 6,
    "first_origin": "2026-11-01T00:00:00Z",
    "last_origin": "2026-11-15T00:00:00Z",
    "history": "14d",
    "validity": "7d",
    "absent": 0,
    "policies": [],
    "misses": [],
    "replicas": [],
    "failed": [],
    "notes": ["Prices are assumed."],
}


async def test_backtest_is_started_followed_and_its_report_kept(client, world):
    token = token_of(await shown(client, "/ui/backtests"))
    form = {
        "form_token": token,
        "source": "traces",
        "policies": "constants, vpa",
        "type": "RESOURCE_OPTIMIZATION",
    }
    answer = await client.post("/ui/backtests", data=form)
    assert "QUEUED" in answer.text
    store = world.web.backtests
    run = await store.claim("w", timedelta(seconds=60))
    assert run.request.policies == ("constants", "vpa")
    await store.renew(run.run_id, "w", timedelta(seconds=60), "evaluating: 1 of <3>")
    assert "evaluating: 1 of &lt;3&gt;" in await shown(client, f"/ui/backtests/{run.run_id}/progress")
    await store.finish(run.run_id, "w", BACKTEST, "<p>charts</p>")
    done = await shown(client, f"/ui/backtests/{run.run_id}")
    assert "3 services, 6 origins" in done
    assert run.run_id in await shown(client, "/ui/backtests?format=csv")
    report = await client.get(f"/ui/backtests/{run.run_id}/report")
    assert (report.text, report.headers["content-security-policy"][:7]) == ("<p>charts</p>", "sandbox")
    assert (await client.get(f"/ui/backtests/{run.run_id}/result.json")).json()["services"] == 3


LOOP = {
    "source": "traces",
    "services": 3,
    "first": "2026-11-01T00:00:00Z",
    "last": "2026-11-15T00:00:00Z",
    "every": "1d",
    "horizon": "1d",
    "history": "14d",
    "policies": [
        {
            "policy": "perfopt+loop",
            "baseline": False,
            "days": 45,
            "abstained": 0,
            "in_sample": 0,
            "figures": {"unsafe": {"value": 0.012, "low": 0.004, "high": 0.02}},
        }
    ],
    "failed": [],
    "notes": [],
}


async def test_a_closed_loop_is_started_and_shown_on_the_accuracy_page(client, world):
    assert "perfopt backtest --closed-loop" in await shown(client, "/ui/accuracy")
    token = token_of(await shown(client, "/ui/backtests"))
    form = {"form_token": token, "source": "traces", "closed_loop": "on"}
    assert "QUEUED" in (await client.post("/ui/backtests", data=form)).text
    store = world.web.backtests
    run = await store.claim("w", timedelta(seconds=60))
    assert run.request.closed_loop
    await store.finish(run.run_id, "w", LOOP, "<p>charts</p>")
    for path in (f"/ui/backtests/{run.run_id}", "/ui/accuracy"):
        text = await shown(client, path)
        assert "3 services, analysed every 1d" in text
        assert "1.2% (0.4-2.0)" in text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("source", "nowhere", "There is no source"), ("type", "SPEED", "The form is wrong")],
)
async def test_a_backtest_of_what_is_not_there_is_refused(client, field, value, said):
    token = token_of(await shown(client, "/ui/backtests"))
    answer = await client.post("/ui/backtests", data={"form_token": token, field: value})
    assert (answer.status_code, said in answer.text) == (400, True)
