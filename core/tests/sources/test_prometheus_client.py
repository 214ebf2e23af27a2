"""Each way a Prometheus can fail, and the message that the user sees for it."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError, NoDataError, SourceError, SourceUnavailableError
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.source import PrometheusSource

AT = datetime(2026, 11, 2, tzinfo=UTC)
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


class Server:
    """Answers with what a test says, one answer a request, the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.waits = []

    async def handle(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    async def sleep(self, seconds):
        self.waits.append(seconds)

    def client(self, **settings):
        config = PrometheusConfig(**({"url": "http://prom:9090/base/"} | settings))
        return PrometheusClient(config, transport=httpx.MockTransport(self.handle), sleep=self.sleep)


async def ask(server, **settings):
    client = server.client(**settings)
    try:
        return await client.query("up", AT)
    finally:
        await client.close()


async def message(server, error=SourceError, **settings):
    with pytest.raises(error) as caught:
        await ask(server, **settings)
    return str(caught.value)


async def test_queries_are_posted_as_forms_under_the_base_path():
    server = Server(httpx.Response(200, json=EMPTY))
    assert await ask(server) == []
    request = server.requests[0]
    assert (request.method, str(request.url)) == ("POST", "http://prom:9090/base/api/v1/query")
    assert parse_qs(request.content.decode()) == {"query": ["up"], "time": [f"{AT.timestamp():.3f}"]}


async def test_credentials_and_headers_are_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("PROM_TENANT", "trading")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    server = Server(httpx.Response(200, json=EMPTY))
    await ask(server, bearer_token=f"file:{token}", headers={"X-Scope-OrgID": "env:PROM_TENANT"})
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert server.requests[0].headers["x-scope-orgid"] == "trading"


async def test_a_rotated_token_is_read_again(tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    server = Server(httpx.Response(200, json=EMPTY))
    client = server.client(bearer_token=f"file:{token}")
    await client.query("up", AT)
    token.write_text("second")
    await client.query("up", AT)
    assert [r.headers["authorization"] for r in server.requests] == ["Bearer first", "Bearer second"]


async def test_basic_auth_takes_its_password_from_the_environment(monkeypatch):
    monkeypatch.setenv("PROM_PASSWORD", "pw")
    server = Server(httpx.Response(200, json=EMPTY))
    await ask(server, username="reader", password="env:PROM_PASSWORD")
    expected = base64.b64encode(b"reader:pw").decode()
    assert server.requests[0].headers["authorization"] == f"Basic {expected}"


async def test_401_says_which_setting_to_look_at():
    text = await message(Server(httpx.Response(401, text="Unauthorized")))
    assert "http://prom:9090/base refused the credentials (HTTP 401" in text
    assert "Set `bearer_token`, or `username` and `password`" in text


async def test_403_speaks_of_access_and_of_the_tenant():
    text = await message(Server(httpx.Response(403)))
    assert "does not let these credentials read metrics (HTTP 403)" in text
    assert "X-Scope-OrgID" in text


async def test_404_speaks_of_the_base_path():
    assert "Add the base path to `url`" in await message(Server(httpx.Response(404, text="not found")))


async def test_a_redirect_is_not_followed_with_credentials():
    text = await message(Server(httpx.Response(302, headers={"location": "http://login"})))
    assert "Set `url` to where it leads" in text


async def test_422_shows_the_reason_and_the_query():
    body = {
        "status": "error",
        "errorType": "execution",
        "error": "query processing would load too many samples",
    }
    text = await message(Server(httpx.Response(422, json=body)))
    assert "rejected a query (HTTP 422: query processing would load too many samples). The query: up" in text
    assert "lower `max_query_bytes`" in text


async def test_400_points_to_the_installation_s_own_catalogue():
    body = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end of input"}
    text = await message(Server(httpx.Response(400, json=body)))
    assert "parse error: unexpected end of input" in text
    assert "own catalogue" in text


async def test_a_server_that_is_down_is_tried_again_and_then_named():
    server = Server(httpx.ConnectError("connection refused"))
    text = await message(server, SourceUnavailableError, retries=2)
    assert "http://prom:9090/base did not answer: connection refused. Tried 3 times in" in text
    assert len(server.requests) == 3


async def test_a_server_that_is_slow_is_named_with_the_timeout():
    text = await message(
        Server(httpx.ReadTimeout("")), SourceUnavailableError, timeout_seconds=2.5, retries=0
    )
    assert "no answer within 2.5 s. Tried once" in text
    assert "raise `timeout_seconds`" in text


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(status):
    server = Server(httpx.Response(status), httpx.Response(200, json=EMPTY))
    assert await ask(server) == []
    assert len(server.requests) == 2


async def test_waits_are_random_and_bounded():
    server = Server(httpx.Response(503))
    await message(server, SourceUnavailableError, retries=8)
    assert len(server.waits) == 8
    assert all(0 <= wait <= min(8.0, 0.25 * 2**n) for n, wait in enumerate(server.waits))
    assert len(set(server.waits)) > 1


async def test_retry_after_is_honoured():
    server = Server(httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200, json=EMPTY))
    await ask(server)
    assert server.waits == [7.0]


async def test_a_web_page_is_not_taken_for_an_answer():
    page = httpx.Response(200, html="<html>Sign in</html>")
    text = await message(Server(page))
    assert "answered with a web page, not with the Prometheus API" in text
    assert "a login page or proxy may stand in front" in text


async def test_truncated_json_is_named_as_such():
    body = msgspec.json.encode(EMPTY)[:-5]
    text = await message(
        Server(httpx.Response(200, content=body, headers={"content-type": "application/json"}))
    )
    assert "JSON that is cut off" in text


async def test_other_json_is_no_answer_of_the_api():
    text = await message(Server(httpx.Response(200, json={"hello": "world"})))
    assert "no answer of the Prometheus API" in text


@pytest.mark.parametrize("more", [{"warnings": ["store-2: context deadline exceeded"]}, {"isPartial": True}])
async def test_a_partial_answer_is_refused(more):
    text = await message(Server(httpx.Response(200, json=EMPTY | more)))
    assert "answered with part of the data only" in text
    assert "nothing is recommended from partial data" in text


async def test_a_remark_about_the_query_is_kept_and_is_no_partial_answer():
    note = "PromQL info: metric might not be a counter"
    server = Server(httpx.Response(200, json=EMPTY | {"warnings": [note]}))
    client = server.client()
    assert await client.query("up", AT) == []
    assert list(client.notes) == [note]


async def test_a_huge_answer_is_refused_while_it_is_read():
    text = await message(Server(httpx.Response(200, content=b" " * (3 << 20))), max_response_mib=2)
    assert "answered with more than 2 MiB" in text
    assert "raise `max_response_mib`" in text


async def test_a_long_range_is_asked_for_in_parts_below_the_limit_and_joined():
    def answer(request):
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        first, last, step = float(form["start"]), float(form["end"]), int(form["step"])
        times = [first + i * step for i in range(int((last - first) / step) + 1)]
        assert len(times) <= 11_000
        result = [{"metric": {"pod": "a"}, "values": [[t, str(i)] for i, t in enumerate(times)]}]
        return httpx.Response(
            200, json={"status": "success", "data": {"resultType": "matrix", "result": result}}
        )

    server = Server(answer)
    series = await server.client().query_range("up", AT, AT + timedelta(seconds=300 * 24_999), 300)
    assert len(server.requests) == 3
    assert len(series) == 1
    times = series[0].times
    assert (len(times), times[0], set((times[1:] - times[:-1]).tolist())) == (
        25_000,
        AT.timestamp() * 1000,
        {300_000},
    )


async def test_special_values_are_read():
    values = [[AT.timestamp(), "NaN"], [AT.timestamp() + 300, "+Inf"], [AT.timestamp() + 600.5, "1e-3"]]
    result = [{"metric": {}, "values": values}]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    server = Server(httpx.Response(200, json=body))
    series = (await server.client().query_range("up", AT, AT, 300))[0]
    assert str(series.values.tolist()) == "[nan, inf, 0.001]"
    assert series.times[2] == AT.timestamp() * 1000 + 600_500


async def test_values_that_are_no_numbers_are_refused():
    body = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "x"]]}]},
    }
    server = Server(httpx.Response(200, json=body))
    with pytest.raises(SourceError, match="values that are not numbers"):
        await server.client().query_range("up", AT, AT, 300)


async def test_no_more_requests_are_under_way_than_allowed():
    running, most = 0, 0
    everyone_waits = asyncio.Event()

    async def handle(_request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            everyone_waits.set()
        await asyncio.wait_for(everyone_waits.wait(), 5)
        running -= 1
        return httpx.Response(200, json=EMPTY)

    config = PrometheusConfig(url="http://prom", concurrency=3)
    client = PrometheusClient(config, transport=httpx.MockTransport(handle))
    await asyncio.gather(*(client.query("up", AT) for _ in range(12)))
    assert most == 3
    assert client.queries == 12


async def test_a_password_in_the_url_is_not_shown():
    text = await message(Server(httpx.Response(401)), url="http://me:hunter2@prom:9090")
    assert "hunter2" not in text
    assert "http://prom:9090" in text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"url": "prom:9090"}, "url: 'prom:9090' is not the address of a Prometheus."),
        ({"url": "http://p", "bearer_token": "a", "username": "b"}, "both a bearer token and a user name"),
        ({"url": "http://p", "bearer_token": "env:NOT_SET_AT_ALL"}, "NOT_SET_AT_ALL is not set"),
        (
            {"url": "http://p", "password": "file:/nowhere", "username": "x"},
            "password: /nowhere cannot be read",
        ),
        (
            {"url": "http://p", "matchers": ("cluster=prod",)},
            "matchers: 'cluster=prod' is not a label matcher",
        ),
        ({"url": "http://p", "cluster_label": "a-b"}, "cluster_label: 'a-b' is not a label name"),
        ({"url": "http://p", "step_seconds": 7}, "step_seconds: 7 does not divide a day"),
        ({"url": "http://p", "ca_file": "/nowhere.pem"}, "ca_file: /nowhere.pem is not a readable PEM file"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_asked(settings, expected):
    with pytest.raises(InvalidInputError) as caught:
        PrometheusClient(PrometheusConfig(**settings))
    assert expected in str(caught.value)


async def test_an_empty_answer_to_everything_is_no_inventory_and_no_data():
    async def handle(request):
        if request.url.path.endswith("series"):
            return httpx.Response(200, json={"status": "success", "data": []})
        kind = "matrix" if request.url.path.endswith("query_range") else "vector"
        return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": []}})

    source = PrometheusSource(
        "prod", PrometheusConfig(url="http://prom"), transport=httpx.MockTransport(handle)
    )
    gone = Workload(
        id=WorkloadId(namespace="trading", kind="Deployment", name="api"),
        service_name="api",
        state=WorkloadState(containers=()),
    )
    with pytest.raises(NoDataError, match="kube-state-metrics"):
        await source.inventory(AT)
    (failed,) = [s async for s in source.snapshots([gone], AT - timedelta(days=1), AT, {"cpu_cores"})]
    assert isinstance(failed.error, NoDataError)
    assert "prod holds no sample of trading/deployment/api" in str(failed.error)
    await source.close()
