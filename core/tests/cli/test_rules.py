import http.server
import json
import threading

import msgspec
import pytest
from config_file import write_config

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.rules import FiredRule, TimeWindow

PACK = """apiVersion: perfopt.io/v1
kind: RulePack
name: house
version: 1.0.0
description: The rules of this house.
rules:
  - {name: a, reason: R., when: workload.name == "x", actions: [{veto: {}}]}
"""


@pytest.fixture
def printed(run, traces):
    """What analyze prints of services that use next to nothing, and so meet the floors."""
    arguments = ("analyze", "--source", traces, "--all", "--types", "resource", "--processes", "1")
    done = run(*arguments, "--format", "json")
    assert done.exit_code == 0
    return done.stdout


def with_rule(text):
    report = json.loads(text)
    recommendation = msgspec.convert(report["results"][0]["recommendations"][0], OptimizationRecommendation)
    fired = FiredRule(
        pack="floors",
        version="1.0.0",
        rule="floor",
        action="clamp",
        reason="Raised.",
        container="main",
        field="cpu_request",
        before="1m",
        after="10m",
    )
    window = TimeWindow(start=recommendation.made_at, end=recommendation.valid_until)
    return msgspec.structs.replace(
        recommendation, rules=(fired,), requires_approval=True, allowed_windows=(window,)
    )


def test_explain_reads_what_analyze_printed(run, printed, tmp_path):
    recommendation = with_rule(printed)
    file = tmp_path / "made.json"
    file.write_bytes(msgspec.json.encode({"results": [{"recommendations": [recommendation]}]}))
    done = run("rules", "explain", recommendation.recommendation_id, "--input", file)
    assert done.exit_code == 0
    assert "floors/floor 1.0.0  clamp   main cpu_request  1m" in done.stdout
    assert "needs approval" in done.stdout
    assert "It may be applied" in done.stdout
    shown = json.loads(run("rules", "explain", "--input", file, "--format", "json").stdout)
    assert shown[0]["rules"][0]["after"] == "10m"


def test_explain_without_rules_and_with_a_name_that_is_not_there(run, printed, tmp_path):
    file = tmp_path / "made.json"
    file.write_text(printed)
    done = run("rules", "explain", "--input", file)
    assert "No rule changed it or held it back." in done.stdout
    missing = run("rules", "explain", "opt_1", "--input", file)
    assert missing.exit_code == 2
    assert "There are: opt_" in missing.stderr


@pytest.mark.parametrize("text", ["[1]", "nonsense", '{"recommendation_id": 3}'])
def test_explain_says_what_is_wrong_with_its_input(run, tmp_path, text):
    file = tmp_path / "made.json"
    file.write_text(text)
    done = run("rules", "explain", "--input", file)
    assert done.exit_code == 2
    assert "not a recommendation" in done.stderr


class _Service(http.server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]]

    def do_GET(self):
        authorized = self.headers["Authorization"] == "Bearer secret"
        status, body = self.answers.get(self.path.rpartition("/")[2], (404, b"{}"))
        self.send_response(status if authorized else 401)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keeps quiet."""


@pytest.fixture
def service():
    server = http.server.HTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_explain_asks_a_service(run, printed, service):
    recommendation = with_rule(printed)
    _Service.answers = {
        recommendation.recommendation_id: (200, msgspec.json.encode(recommendation)),
        "odd": (200, b"[]"),
    }
    token = {"PERFOPT_TOKEN": "secret"}
    done = run("rules", "explain", recommendation.recommendation_id, "--server", service, env=token)
    assert "floors/floor" in done.stdout
    for name, environment, code, said in (
        ("opt_9", token, 2, "has no recommendation"),
        ("odd", token, 1, "something else"),
        ("opt_9", {"PERFOPT_TOKEN": "wrong"}, 1, "Set PERFOPT_TOKEN"),
    ):
        failed = run("rules", "explain", name, "--server", service, env=environment)
        assert (failed.exit_code, said in failed.stderr) == (code, True)


@pytest.mark.parametrize(("server", "code"), [("http://127.0.0.1:9", 1), ("nowhere", 2)])
def test_explain_says_that_a_service_cannot_be_asked(run, server, code):
    assert run("rules", "explain", "opt_1", "--server", server).exit_code == code


def test_check_names_what_is_right(run, tmp_path):
    (tmp_path / "house.yaml").write_text(PACK)
    done = run("rules", "check", tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/house.yaml: house 1.0.0 is valid, 1 rule.\n")
    assert run("rules", "check", tmp_path / "none.yaml").exit_code == 2


def test_list_shows_the_packs_of_a_namespace_in_order(run, tmp_path):
    (tmp_path / "house.yaml").write_text(PACK)
    config = write_config(
        tmp_path,
        f"rules:\n  packs: {tmp_path}/house.yaml\n"
        "  namespaces: {risk: {enable: budget, parameters: {budget: {monthly: 20}}}}\n",
    )
    listed = json.loads(
        run("rules", "list", "--config", config, "--namespace", "risk", "--format", "json").stdout
    )
    found = {pack["name"]: pack for pack in listed}
    assert [pack["name"] for pack in listed][-4:] == ["house", "floors", "cluster-limits", "memory-peak"]
    assert (found["budget"]["enabled"], found["budget"]["parameters"]["monthly"]) == (True, "20")
    assert found["house"]["layer"] == "installation"
    table = run("rules", "list", "--config", config).stdout
    assert "budget                1.0.0    shipped       off" in table


def test_variables_are_listed_with_units(run):
    assert "container.history.memory_peak_24h" in run("rules", "variables").stdout
    shown = json.loads(run("rules", "variables", "--format", "json").stdout)
    assert {"cores", "bytes", "ms", "days"} <= {variable["unit"] for variable in shown}


def test_explain_tells_what_rules_ask_of_a_plan_of_several(run, printed, tmp_path):
    report = json.loads(printed)
    result = next(one for one in report["results"] if one["plan"] is not None)
    made = with_rule(printed)
    asked = {"rules": msgspec.to_builtins(made.rules), "requires_approval": True}
    file = tmp_path / "made.json"
    file.write_text(json.dumps({"results": [result | {"plan": result["plan"] | asked}]}))
    assert "The plan of" not in run("rules", "explain", "--input", file).stdout  # it is the recommendation
    steps = [step | {"recommendation_id": f"opt_{n}"} for n in "12" for step in result["plan"]["steps"]]
    file.write_text(json.dumps({"results": [result | {"plan": result["plan"] | asked | {"steps": steps}}]}))
    told = run("rules", "explain", "--input", file).stdout.partition(f"The plan of {result['service_name']}")[
        2
    ]
    assert told.startswith(", from opt_1 and opt_2\n")
    assert "floors/floor 1.0.0" in told
    assert "needs approval" in told
