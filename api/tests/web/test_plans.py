"""Pages of a recommendation and of its plan: what they show, and what can be done there."""

import re
import subprocess

import pytest
from sqlalchemy import update

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import Reason
from perfopt_api.auth.roles import Role
from perfopt_api.policy.git import GitRepository, GitSettings
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.tables import recommendations

from .conftest import TOKEN, WORKLOAD, analyse, browser, build, made_for, shown, token_of


async def test_recommendation_shows_reasons_windows_and_patch(client, analysed):
    made = analysed.recommendations[0]
    text = await shown(client, f"/ui/recommendations/{made.recommendation_id}")
    assert "The peak of &lt;b&gt;app&lt;/b&gt; was 280m." in text
    assert "n_eff" in text
    assert "windows accurate" in text
    assert "kubectl patch" in text
    assert (await shown(client, f"/ui/recommendations/{made.recommendation_id}/windows.csv")).startswith(
        "made_at"
    )


async def test_plan_shows_the_exact_difference(client, analysed):
    made = analysed.recommendations[0]
    text = await shown(client, f"/ui/recommendations/{made.recommendation_id}/plan")
    assert "containers.app.cpu_request" in text
    assert "<del>500m</del>" in text
    assert "<ins>300m</ins>" in text


async def test_another_trade_shows_its_sizes_changes_and_patch(client, database):
    points = [
        {
            "confidence": confidence,
            "cost_change_percent": change,
            "containers": {"app": {"cpu_request": cpu, "memory_request": "1Gi"}},
        }
        for confidence, change, cpu in ((0.8, -50.0, "250m"), (0.97, -20.0, "400m"))
    ]
    data = {"relative_to": "current", "points": points}
    trade = Reason(code="frontier", text="Other trades.", data=data)
    made = made_for(WORKLOAD, reasons=(trade,))
    job = await analyse(database, made)
    path = f"/ui/recommendations/{job.recommendations[0].recommendation_id}"
    text = await shown(client, path)
    assert "See what changes" in text
    assert "At confidence" not in text
    chosen = await shown(client, f"{path}?point=1")
    assert "At confidence 0.97" in chosen
    assert "<ins>400m</ins>" in chosen
    assert "cpu: 400m" in chosen
    assert "At confidence" not in await shown(client, f"{path}?point=7")


async def test_the_distribution_of_need_is_drawn_with_both_sizes_on_it(client, database):
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    data = {"container": "app", "levels": levels, "cpu": [0.1, 0.15, 0.2, 0.25, 0.4]}
    need = Reason(code="need", text="app: the need is expected.", data=data)
    job = await analyse(database, made_for(WORKLOAD, reasons=(need,)))
    text = await shown(client, f"/ui/recommendations/{job.recommendations[0].recommendation_id}")
    assert "Distribution of the cpu that app will need" in text
    assert "current 500m: enough at over 95%" in text
    assert "recommended 300m: enough at 82%" in text
    assert "<title>25% between 150m and 200m</title>" in text
    assert "of the memory that app" not in text


async def test_a_plan_states_what_is_checked_changed_first_and_restored(client, analysed, plan):
    text = await shown(client, plan)
    assert "Changes are switched off" in text
    assert "3 pods of one workload; “a few pods first” changes 1, and compares it" in text
    assert re.search(r"It restores <code>[a-z.]*cpu_request</code> 500m", text)
    assert "Commit to" not in text


async def test_manifests_are_committed_from_the_plan_where_a_repository_is_configured(
    client, world, analysed, tmp_path, plan
):
    def git(*arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "begin")
    settings = GitSettings(repositories={"deployments": GitRepository(url=str(tmp_path), branch="main")})
    object.__setattr__(world.web.api, "git", settings)
    text = await shown(client, plan)
    assert "Commit to deployments" in text
    form = {"form_token": token_of(text), "reason": "cheaper"}
    answer = await client.post(plan.replace("plan", "commit"), data=form)
    assert answer.status_code == 200, answer.text
    (branch,) = re.findall(r"Committed to branch <code>([^<]+)</code> of deployments", answer.text)
    assert "cpu: 300m" in git("show", branch)
    (entry,) = await world.web.pages.audit(subject=WORKLOAD)
    assert (entry["action"], entry["reason"]) == ("commit", "cheaper")


async def test_a_recommendation_is_refused_with_a_reason_and_not_applied_any_more(
    client, world, analysed, plan
):
    text = await shown(client, plan)
    form = {"form_token": token_of(text), "reason": " "}
    path = plan.replace("plan", "refuse")
    assert (await client.post(path, data=form)).status_code == 400
    text = (await client.post(path, data=form | {"reason": "batch <run> tonight"})).text
    assert "batch &lt;run&gt; tonight" in text
    assert "Refuse this recommendation" not in await shown(client, plan)
    listed = await shown(client, "/ui/workloads?status=refused")
    assert WORKLOAD in listed
    assert "batch &lt;run&gt; tonight" in listed
    assert "no change that is not applied yet saves anything" in await shown(client, "/ui")
    (entry,) = await world.web.pages.audit(subject=WORKLOAD)
    assert (entry["action"], entry["reason"]) == ("refuse", "batch <run> tonight")
    world.web.api.executor = True
    assert "Apply the change" not in await shown(client, plan)
    refused = await client.post(plan.replace("plan", "apply"), data={"form_token": form["form_token"]})
    assert refused.status_code == 409
    assert (await client.post(path, data=form | {"reason": "again"})).status_code == 409


async def test_what_is_in_force_is_not_offered_to_be_applied_again(client, world, analysed, database, plan):
    world.web.api.executor = True
    assert "Apply the change" in await shown(client, plan)
    async with database.transaction() as connection:
        await connection.execute(update(recommendations).values(applied=True))
    text = await shown(client, plan)
    assert "Apply the change" not in text
    assert "To take it back" in text


async def test_what_is_being_applied_is_not_refused(client, waiting, plan):
    text = await shown(client, plan)
    form = {"form_token": token_of(text), "reason": "no"}
    refused = await client.post(plan.replace("plan", "refuse"), data=form)
    assert refused.status_code == 409
    assert "Roll its change back" in refused.text


async def test_refusing_a_part_of_a_plan_leads_to_the_rest(client, world, database):
    first = made_for(WORKLOAD)
    second = made_for(
        WORKLOAD,
        recommendation_id="opt_20261130_002",
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
    )
    job = await analyse(database, first, second)
    ids = [made.recommendation_id for made in job.recommendations]
    row = await world.web.pages.workload(WORKLOAD)
    assert row["recommendation_id"] in ids
    await world.web.refusals.refuse(row["recommendation_id"], principal="alice", reason="not now")
    after = await world.web.pages.workload(WORKLOAD)
    assert after["status"] == row["status"]
    assert {row["recommendation_id"], after["recommendation_id"]} == set(ids)
    await world.web.refusals.refuse(after["recommendation_id"], principal="alice", reason="neither")
    assert (await world.web.pages.workload(WORKLOAD))["state"] == "refused"


async def test_an_apply_form_sent_twice_starts_one_change(client, world, analysed, plan):
    world.web.api.executor = True
    text = await shown(client, plan)
    key = re.search(r'name="key" value="([^"]+)"', text)[1]
    form = {"form_token": token_of(text), "key": key, "mode": "canary"}
    path = plan.replace("plan", "apply")
    answers = [await client.post(path, data=form, follow_redirects=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert len(world.queue.enqueued) == 1


@pytest.mark.parametrize("action", ["apply", "refuse", "commit"])
async def test_changing_routes_are_closed_to_viewers(viewed, analysed, action, plan):
    token = token_of(await shown(viewed, "/ui"))
    form = {"form_token": token, "reason": "x", "name": WORKLOAD}
    assert (await viewed.post(plan.replace("plan", action), data=form)).status_code == 403
    assert (await viewed.post("/ui/queue", data=form)).status_code == 403


async def test_somebody_bound_to_a_namespace_changes_only_there(database, analysed, plan):
    grants = {"ned": ApiKey(token=TOKEN, role=Role.OPERATOR, namespaces=("edge",))}
    app = build(database, ServiceSettings(requests_per_second=100_000, api_keys=grants)).app
    async with browser(app) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        listed = await shown(client, "/ui/workloads")
        assert "edge/deployment/gateway" in listed
        assert WORKLOAD not in listed
        assert WORKLOAD not in await shown(client, "/ui/workloads?format=csv")
        form = {"form_token": token_of(listed), "reason": "x", "name": [WORKLOAD, "edge/deployment/gateway"]}
        for path in ("/ui/queue", "/ui/analyse", plan.replace("plan", "refuse")):
            assert (await client.post(path, data=form)).status_code == 403, path
        for path in (plan, f"/ui/workload?name={WORKLOAD}", "/ui/policies"):
            await shown(client, path, 403)
