"""POST /analyze: what is stored, what is answered, what is refused before anything is stored."""

from datetime import timedelta

import pytest

from perfopt.config.loading import Config, FilesConfig
from perfopt_api.errors import OverloadedError, QuotaExceededError
from perfopt_api.http import jobs

PATH = "/api/v1/optimization/analyze"
BODY = {"service_name": "portfolio_management_service"}


def test_answers_at_once_with_a_job_that_a_worker_is_woken_for(client, world):
    response = client.post(PATH, json=BODY)
    job = response.json()
    assert response.status_code == 202
    assert (job["status"], job["recommendations"]) == ("ANALYZING", [])
    assert response.headers["location"].endswith(f"/api/v1/optimization/jobs/{job['job_id']}")
    assert client.get(response.headers["location"]).json() == job
    assert world.queue.enqueued == [job["job_id"]]


def test_the_first_type_named_is_the_jobs(client):
    types = ["COST_OPTIMIZATION", "RESOURCE_OPTIMIZATION"]
    job = client.post(PATH, json={**BODY, "optimization_types": types}).json()
    assert (job["optimization_type"], job["optimization_types"]) == (types[0], types)


def test_prefer_wait_answers_with_the_finished_job(client, world):
    response = client.post(PATH, json=BODY, headers={"Prefer": "respond-async, wait=5"})
    assert response.status_code == 200
    assert response.json()["status"] == "RECOMMENDATIONS_READY"
    assert response.headers["preference-applied"] == "wait=5"
    assert [round(asked.total_seconds()) for asked in world.waiter.asked] == [5]


def test_a_wait_begins_when_the_request_arrives(client, world, monkeypatch):
    monkeypatch.setattr(jobs, "seconds_since_arrival", lambda _: 3.0)
    client.post(PATH, json=BODY, headers={"Prefer": "wait=5"})
    assert world.waiter.asked == [timedelta(seconds=2)]


def test_prefer_wait_is_cut_to_what_the_settings_allow(client, world):
    response = client.post(PATH, json=BODY, headers={"Prefer": "wait=100000"})
    assert [round(asked.total_seconds()) for asked in world.waiter.asked] == [60]
    assert response.headers["preference-applied"] == "wait=60"


def test_a_job_that_is_not_finished_in_time_answers_202(client, world):
    world.waiter.finishes = False
    response = client.post(PATH, json=BODY, headers={"Prefer": "wait=1"})
    assert response.status_code == 202
    assert response.json()["status"] == "ANALYZING"
    assert "location" in response.headers
    assert "preference-applied" not in response.headers


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=soon", "wait=-1", "handling=strict", ""])
def test_a_preference_that_is_not_understood_is_ignored(client, world, prefer):
    assert client.post(PATH, json=BODY, headers={"Prefer": prefer}).status_code == 202
    assert world.waiter.asked == []


def test_the_same_idempotency_key_gives_the_same_job(client, world):
    headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    first = client.post(PATH, json={**BODY, "validity": "7d"}, headers=headers)
    second = client.post(PATH, json={"validity": "7d", **BODY}, headers=headers)  # the order does not count
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(world.queue.enqueued) == 1


def test_a_key_with_another_body_is_refused(client):
    headers = {"Idempotency-Key": "k"}
    client.post(PATH, json=BODY, headers=headers)
    response = client.post(PATH, json={"service_name": "other"}, headers=headers)
    assert response.status_code == 422
    assert response.json()["type"] == "/problems/idempotency_key_reused"
    assert "new key" in response.json()["detail"]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\x7f", "schlüssel"])
def test_a_key_that_is_not_printable_ascii_is_refused(client, world, key):
    response = client.post(PATH, json=BODY, headers={"Idempotency-Key": key.encode("latin-1")})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert world.store.jobs == {}


REFUSED = {
    "no service": ({}, "service_name: The field is missing."),
    "empty service": ({"service_name": ""}, "length >= 1"),
    "blank service": ({"service_name": "   "}, "service_name: The name is blank. Give a plain name."),
    "long service": ({"service_name": "x" * 101}, "length <= 100"),
    "control character": ({"service_name": "a\u0000b"}, "control character"),
    "unknown field": ({**BODY, "analysis_perod": "7d"}, "no field 'analysis_perod'. Known: service_name"),
    "a URL": ({**BODY, "source_url": "http://example.com"}, "no field 'source_url'"),
    "number for text": ({"service_name": 5}, "Expected `str`, got `int`"),
    "text for boolean": ({**BODY, "include_predictions": "yes"}, "Expected `bool`, got `str`"),
    "text for list": ({**BODY, "optimization_types": "COST_OPTIMIZATION"}, "Expected `array`, got `str`"),
    "unknown type": ({**BODY, "optimization_types": ["SPEED"]}, "One of RESOURCE_OPTIMIZATION,"),
    "period": ({**BODY, "analysis_period": "fortnight"}, "analysis_period: 'fortnight' is not a duration."),
    "naive instant": (
        {**BODY, "analysis_period": "2026-11-01T00:00:00/2026-11-08T00:00:00Z"},
        "names no time zone",
    ),
    "period backwards": (
        {**BODY, "analysis_period": "2026-11-08T00:00:00Z/2026-11-01T00:00:00Z"},
        "ends before it starts",
    ),
    "too long": ({**BODY, "analysis_period": "9y"}, "'9y' is out of range. Give more than zero"),
    "out of the calendar": (
        {**BODY, "analysis_period": "P14D/9999-12-31T00:00:00Z"},
        "9999-12-31T00:00:00+00:00 is not within 2000 and 2100. Check the year.",
    ),
    "too many samples": (
        {**BODY, "analysis_period": "14d", "source": "edge"},
        "14d at a step of 1s are 1,209,600 steps; at most 1,000,000 are analysed. Ask for a shorter period",
    ),
    "long validity": ({**BODY, "validity": "500d"}, "validity: '500d' is out of range."),
    "validity": ({**BODY, "validity": "0d"}, "validity: '0d' is out of range"),
    "source": ({**BODY, "source": "prometheus"}, "no metric source 'prometheus'. Configured: traces, edge."),
    "source as URL": ({**BODY, "source": "http://evil.example"}, "no metric source 'http://evil.example'"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_worker_could_do_is_refused_and_not_stored(client, world, body, message):
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert message in problem["detail"]
    assert problem["errors"][0]["message"] in problem["detail"]
    assert (world.store.jobs, world.queue.enqueued) == ({}, [])


def test_auto_apply_is_analysed(client, world):
    response = client.post(PATH, json={**BODY, "auto_apply": True})
    assert response.status_code == 202
    assert len(world.store.jobs) == 1


BROKEN = {
    "truncated": (b'{"service_name":', "truncated"),
    "not JSON": (b"service_name: x", "invalid character"),
    "empty": (b"", "truncated"),
    "not UTF-8": (b'{"service_name":"\xff"}', "not JSON"),
    "deep": (b"[" * 60_000, "nested too deeply"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_is_not_json_says_so(client, content, message):
    response = client.post(PATH, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["type"] == "/problems/malformed_json"
    assert message in response.json()["detail"]


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"5"])
def test_a_body_that_is_no_object_says_so(client, content):
    response = client.post(PATH, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "not a JSON object" in response.json()["detail"]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_body_of_another_type_is_refused(client, kind):
    headers = {"content-type": kind} if kind else {}
    response = client.post(PATH, content=b'{"service_name":"x"}', headers=headers)
    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


def test_a_body_over_the_limit_is_refused(client, world):
    response = client.post(PATH, json={"service_name": "x" * 70_000})
    assert response.status_code == 413
    assert "65536 bytes" in response.json()["detail"]
    assert world.store.jobs == {}


def test_too_many_unfinished_jobs_are_a_429_that_says_when_to_come_back(client, world):
    world.store.error = QuotaExceededError("5 of your jobs are not finished, and 5 may be.", remedy="Wait.")
    response = client.post(PATH, json=BODY)
    assert (response.status_code, response.headers["retry-after"]) == (429, "5")
    assert response.json()["type"] == "/problems/quota_exceeded"


def test_overload_is_a_429_of_its_own_that_says_when_to_come_back(client, world):
    world.store.error = OverloadedError("100 requests wait.", retry_after_seconds=7)
    response = client.post(PATH, json=BODY)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json()["type"] == "/problems/overloaded"


def test_a_lost_queue_loses_no_job(client, world):
    world.queue.down = True
    response = client.post(PATH, json=BODY)
    assert response.status_code == 202
    assert response.json()["job_id"] in world.store.jobs


def test_a_lost_database_is_a_503_that_says_when_to_come_back(client, world):
    world.store.down = True
    response = client.post(PATH, json=BODY)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["detail"] == "PostgreSQL is not reachable. Try again later."
    assert world.queue.enqueued == []


class TestWithTwoSourcesAndNoDefault:
    @pytest.fixture
    def config(self):
        return Config(sources={"traces": FilesConfig(paths="t"), "edge": FilesConfig(paths="e")})

    def test_the_source_must_be_named(self, client):
        response = client.post(PATH, json=BODY)
        assert response.status_code == 400
        assert "Configured: traces, edge." in response.json()["detail"]
        assert client.post(PATH, json={**BODY, "source": "edge"}).status_code == 202


class TestWithoutAnySource:
    @pytest.fixture
    def config(self):
        return Config()

    def test_it_says_what_to_configure(self, client):
        response = client.post(PATH, json=BODY)
        assert response.status_code == 400
        assert "Configure one under `sources`." in response.json()["detail"]
