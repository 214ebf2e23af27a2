from pathlib import Path

import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt.errors import InvalidInputError
from perfopt.rules import check_pack, read_pack, shipped_packs
from perfopt.rules.variables import VARIABLES

RULE = "rules:\n  - name: a\n    reason: R.\n    "
WRONG = {
    "when: proposal.replicsa > 1\n    actions: [{veto: {}}]": (9, "Did you mean proposal.replicas?"),
    "when: 'proposal.replicas > '\n    actions: [{veto: {}}]": (9, "at character 21"),
    "when: proposal.replicas\n    actions: [{veto: {}}]": (9, "gives int"),
    "when: proposal.monthly_cost > 1\n    actions: [{veto: {}}]": (9, "write 1.0 for 1"),
    "when: container.cpu_request > 1.0\n    actions: [{veto: {}}]": (9, "`for: containers`"),
    'when: current.cpu_request > cpu("2Gi")\n    actions: [{veto: {}}]': (9, "is a quantity of memory"),
    "wen: true\n    actions: [{veto: {}}]": (9, "Did you mean 'when'?"),
    "actions: []": (9, "Give it an action"),
    "actions:\n      - veto: {}\n        prefer: {weight: 2.0}": (10, "2 actions"),
    "actions:\n      - vetoo: {}": (10, "Did you mean 'veto'?"),
    "actions: [{clamp: {fields: [cpu_request], at_least: 10m}}]": (9, "`for: containers`"),
    "actions: [{clamp: {fields: [replica], at_least: 1}}]": (9, "Did you mean 'replicas'?"),
    "actions: [{clamp: {fields: [replicas]}}]": (9, "Give at_least, at_most or both"),
    "actions: [{clamp: {fields: [replicas], at_least: 200m}}]": (9, "not a whole number"),
    "actions: [{prefer: {weight: 0.0}}]": (9, "more than 0"),
    "actions: [{annotate: {}}]": (9, "is no key"),
    "actions: [{defer: {}}]": (9, "either windows or outside_sessions"),
    "actions: [{defer: {windows: [{days: [mon], start: '9', end: '10:00'}]}}]": (9, "no time of day"),
    "actions: [{defer: {windows: [{days: [mon], start: '09:00', end: '10:00', timezone: X/Y}]}}]": (
        9,
        "IANA name",
    ),
    "actions: [{defer: {outside_sessions: params.exchange}}]": (9, "no parameter of the type text"),
    "actions: [{set_class: {to: batch}}, {veto: {}}]": (9, "Write two rules"),
    "when: proposal.replicas > 1\n    actions: [{set_class: {to: batch}}]": (9, "without set_class"),
    "for: containers\n    actions: [{round: {fields: [cpu_limit], to: 0}}]": (10, "more than 0"),
    "for: containers\n    actions: [{prefer: {weight: 2.0}}]": (10, "for the whole workload"),
}
STATES = ("current", "proposal")
CLAMP = "for: containers\n    actions: [{clamp: {fields: [%s], %s}}]"
WRONG |= {
    CLAMP % (fields, bound): (10, said)
    for fields, bound, said in (
        ("cpu_request", "at_least: 16Mi", "of memory, not of CPU"),
        ("memory_request", "at_least: 200m", "such as 64Mi"),
        ("memory_request", "at_least: 512", "such as 64Mi"),
        ("cpu_limit", "at_least: 500k", "more cores"),
        ("cpu_limit, memory_limit", "at_least: 5", "one unit"),
        ("cpu_limit", "at_least: 2, at_most: 1", "Swap them"),
        (
            "cpu_limit",
            "at_most: container.memory_limit",
            "in bytes, and the field in cores",
        ),
    )
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text.replace("\n", " ")[:60])
def test_what_is_wrong_is_said_with_its_line_and_a_remedy(pack, text):
    line, said = WRONG[text]
    path = pack(RULE + text)
    _, (problem,) = check_pack(Path(path))
    assert f"mine.yaml:{line}" in str(problem)
    assert said in str(problem)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("rules: []", "no list of rules"),
        ("prioriti: 3\nrules: [{name: a, reason: R., actions: [{veto: {}}]}]", "Did you mean 'priority'?"),
        ("parameters: {x: {type: cpu, default: 1Gi, description: d}}\nrules: [{}]", "quantity of memory"),
        ("parameters: {x: {type: text, default: a, tighten: higher, description: d}}\nrules: [{}]", "higher"),
        ("parameters: {x: {type: cpu, default: 1, tighten: more, description: d}}\nrules: [{}]", "texts"),
        ("safety: true\nrules: [{name: a, reason: R., actions: [{prefer: {weight: 2.0}}]}]", "safety pack"),
        ("rules: [{name: A, reason: R., actions: [{veto: {}}]}]", "no name of a rule"),
        ("rules: [{name: a, reason: '', actions: [{veto: {}}]}]", "reason is empty"),
    ],
)
def test_the_rest_of_a_pack_is_checked_too(pack, body, said):
    with pytest.raises(InvalidInputError, match=said):
        read_pack(Path(pack(body)))


BOUNDS = ("least", "request_least", "request_most", "limit_most")


def test_every_wrong_rule_is_named_at_once(pack):
    rule = "  - {{name: {}, reason: R., when: nope, actions: [{{veto: {{}}}}]}}\n"
    path = pack("rules:\n" + rule.format("a") + rule.format("b"))
    done = CliRunner().invoke(cli, ["rules", "check", path])
    assert done.exit_code == 2
    assert done.stderr.count("Error:") == 2


def test_two_rules_of_one_name_are_refused(pack):
    rule = "  - {name: a, reason: R., actions: [{veto: {}}]}\n"
    with pytest.raises(InvalidInputError, match="two rules 'a'"):
        read_pack(Path(pack("rules:\n" + rule * 2)))


def test_the_shipped_packs_are_right_and_few_are_on():
    assert {pack.name: (pack.enabled, pack.safety) for pack in shipped_packs()} == {
        "budget": (False, False),
        "cluster-limits": (True, True),
        "floors": (True, True),
        "market-hours": (False, False),
        "memory-peak": (True, True),
        "ownership": (True, False),
        "protected-namespaces": (True, False),
        "step-limits": (False, False),
    }


def test_every_variable_can_be_read_by_a_rule_for_containers(pack, run, situation):
    """Each is compared with itself: it compiles, and where it is known it holds."""
    rules = [
        f"  - {{name: r{i}, for: containers, reason: R., when: '{name} == {name}',"
        " actions: [{annotate: {k: v}}]}"
        for i, name in enumerate(VARIABLES)
    ]
    path = pack("rules:\n" + "\n".join(rules))
    fired = {rule.rule for rule in run({"packs": [path]}).rules}
    read = [name for i, name in enumerate(VARIABLES) if f"r{i}" in fired]
    unknown = set(VARIABLES) - set(read)
    assert unknown == {
        "workload.slo_latency_ms",
        "calendar.market_open",
        "calendar.hours_to_open",
        "history.requests_per_second_p99",
        "history.latency_p99_ms_median",
        "history.oom_kills",
        "history.restarts",
        "forecast.requests_per_second_peak",
        "current.hpa_min_replicas",
        "current.hpa_max_replicas",
        "proposal.hpa_min_replicas",
        "proposal.hpa_max_replicas",
        *(f"{of}.hpa_target_{what}_utilization_percent" for of in STATES for what in ("cpu", "memory")),
        *(f"{of}.schedule_{which}_replicas" for of in STATES for which in ("lowest", "highest")),
        "proposal.latency_ms",
        "container.history.cpu_throttled_p95",
        *(f"container.cluster.{r}_{bound}" for r in ("cpu", "memory") for bound in BOUNDS),
    }
