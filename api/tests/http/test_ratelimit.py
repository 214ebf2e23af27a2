from typing import Any

import pytest
from litestar.testing import TestClient

from perfopt_api.errors import RateLimitedError
from perfopt_api.http import ratelimit
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.settings import ApiKey, ServiceSettings

PATH = "/api/v1/optimization/jobs"
TOKENS = {"ci": ApiKey(token="a" * 16), "keda": ApiKey(token="b" * 16)}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def refused(buckets, requester="ci"):
    with pytest.raises(RateLimitedError) as error:
        buckets.take(requester)
    return error.value.retry_after_seconds


def test_a_burst_of_two_seconds_passes_and_then_the_rate(clock):
    buckets = TokenBuckets(5, clock)
    for _ in range(10):
        buckets.take("ci")
    assert refused(buckets) == 1
    clock.now += 0.2
    buckets.take("ci")
    refused(buckets)


def test_the_seconds_to_wait_are_those_until_the_next_token(clock):
    buckets = TokenBuckets(0.1, clock)
    buckets.take("ci")
    assert refused(buckets) == 10
    clock.now += 4
    assert refused(buckets) == 6
    clock.now += 6
    buckets.take("ci")


def test_a_bucket_holds_no_more_than_a_burst(clock):
    buckets = TokenBuckets(5, clock)
    buckets.take("ci")
    clock.now += 3600
    for _ in range(10):
        buckets.take("ci")
    refused(buckets)


def test_one_requester_takes_nothing_from_another(clock):
    buckets = TokenBuckets(1, clock)
    buckets.take("ci")
    buckets.take("ci")
    refused(buckets)
    buckets.take("keda")


def test_buckets_of_many_requesters_are_bounded(clock, monkeypatch):
    monkeypatch.setattr(ratelimit, "MAX_BUCKETS", 2)
    buckets = TokenBuckets(1, clock)
    for requester in ("a", "b", "a", "c"):
        buckets.take(requester)
    refused(buckets, "a")  # asked after b, which was dropped
    buckets.take("b")
    buckets.take("b")


class TestOverHttp:
    @pytest.fixture
    def settings(self):
        return ServiceSettings(requests_per_second=1, api_keys=TOKENS)

    def test_who_asks_too_often_is_told_when_to_come_back(self, client: TestClient[Any]):
        ask = {"Authorization": f"Bearer {'a' * 16}"}
        assert [client.get(PATH, headers=ask).status_code for _ in range(2)] == [200, 200]
        response = client.get(PATH, headers=ask)
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert response.json()["type"] == "/problems/rate_limited"
        assert "More than 1 requests a second" in response.json()["detail"]
        other = {"Authorization": f"Bearer {'b' * 16}"}
        assert client.get(PATH, headers=other).status_code == 200

    def test_health_is_not_counted(self, client: TestClient[Any]):
        assert {client.get("/health/live").status_code for _ in range(5)} == {200}
