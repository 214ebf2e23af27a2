import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfopt.domain.enums import Basis, DeclineCode, ServiceClass
from perfopt.plugin import Declined, HpaState, OptimizationType

MIB = 2**20
CAP = """
rules:
  - name: cap
    for: containers
    reason: No more than the team was granted.
    actions: [{clamp: {fields: [cpu_request, cpu_limit], at_most: %s}}]
"""


def quantities(result):
    container = result.proposal.target.containers[0]
    return container.cpu_request_cores, container.cpu_limit_cores


def test_a_clamp_says_what_it_changed(pack, run):
    result = run({"packs": [pack(CAP % "700m")]}, cpu_request_cores=0.9)
    assert quantities(result) == (0.7, 0.7)
    assert [(f.field, f.before, f.after) for f in result.rules] == [
        ("cpu_request", "900m", "700m"),
        ("cpu_limit", "2", "700m"),
    ]
    assert result.proposal.description.endswith("hold main cpu request at 700m, main cpu limit at 700m.")


def test_what_rules_bring_back_to_the_current_state_is_no_change_needed(pack, run, situation, propose):
    clamp = "{clamp: {fields: [cpu_request], at_least: 1}}"
    body = f"rules: [{{name: a, for: containers, reason: R., actions: [{clamp}]}}]"
    context = situation(basis=Basis.ASSUMED_FROM_LIMIT)
    proposal = propose(context, {"basis": Basis.DECLARED}, cpu_request_cores=0.5)
    result = run({"packs": [pack(body)]}, proposal, context)
    assert result.proposal.no_change_needed
    assert result.proposal.target == context.snapshot.workload.state


def test_a_bound_may_be_computed(pack, run):
    path = pack(CAP % "container.history.cpu_max * 2.0")
    assert quantities(run({"packs": [path]})) == (0.2, 0.2)


def test_a_lowered_limit_takes_its_request_along_and_a_raised_request_its_limit(pack, run):
    body = "rules: [{name: a, for: containers, reason: R., actions: [{clamp: {fields: [%s], %s: %s}}]}]"
    low = pack(body % ("cpu_limit", "at_most", "500m"), "low")
    high = pack(body % ("cpu_request", "at_least", "3"), "high")
    assert quantities(run({"packs": [low]})) == (0.5, 0.5)
    assert quantities(run({"packs": [high]})) == (3, 3)


@pytest.mark.parametrize(
    ("direction", "cpu", "memory"), [("up", 0.35, 128), ("down", 0.3, 64), ("nearest", 0.3, 128)]
)
def test_values_are_rounded_to_multiples(pack, run, direction, cpu, memory):
    body = f"""
    rules:
      - name: steps
        for: containers
        reason: Our manifests have such steps.
        actions:
          - round: {{fields: [cpu_request], to: 50m, direction: {direction}}}
          - round: {{fields: [memory_limit], to: 64Mi, direction: {direction}}}
    """
    result = run(
        {"packs": [pack(body)]},
        cpu_request_cores=0.312,
        memory_request_bytes=None,
        memory_limit_bytes=100 * MIB,
    )
    container = result.proposal.target.containers[0]
    held = max(memory, 120)  # it held 100Mi in the last day, and a limit leaves a fifth above that
    assert container.cpu_request_cores == pytest.approx(cpu)
    assert container.memory_limit_bytes == held * MIB


def test_replicas_and_the_bounds_of_an_autoscaler(pack, run, situation, propose):
    body = """
    rules:
      - {name: a, reason: R., actions: [{clamp: {fields: [hpa_min_replicas], at_least: 4}}]}
      - {name: b, reason: R., actions: [{clamp: {fields: [replicas], at_most: 3}}]}
    """
    context = situation()
    wanted = {"hpa": HpaState(min_replicas=2, max_replicas=3), "replicas": 6}
    proposal = propose(context, wanted, OptimizationType.SCALING_OPTIMIZATION)
    target = run({"packs": [pack(body)]}, proposal, context).proposal.target
    assert (target.hpa.min_replicas, target.hpa.max_replicas, target.replicas) == (4, 4, 3)
    without = run({"packs": [pack(body)]}).proposal.target
    assert without.hpa is None


def test_a_veto_gives_its_reason_and_rule(pack, run):
    body = "rules: [{name: busy, reason: Not now., when: workload.name == 'web', actions: [{veto: {}}]}]"
    result = run({"packs": [pack(body)]})
    assert isinstance(result, Declined)
    assert (result.code, result.reason) == (DeclineCode.VETOED, "Not now. (rule mine/busy)")


def test_what_judges_sees_what_is_finally_recommended(pack, run):
    """A budget is held against the request that the safety rules made of it."""
    body = """
    rules:
      - name: small
        reason: Too much.
        when: proposal.memory_request > memory("90Mi")
        actions: [{require_approval: {}}]
    """
    result = run({"packs": [pack(body)]}, memory_request_bytes=50 * MIB)
    assert result.conditions.requires_approval
    assert [(f.rule, f.action) for f in result.rules] == [
        ("recent_memory_peak", "clamp"),
        ("small", "require_approval"),
    ]
    assert result.proposal.reasons[-1].text == "Too much."


def test_notes_and_preferences_add_up(pack, run):
    body = """
    rules:
      - {name: a, reason: R., actions: [{annotate: {ticket: OPS-1}}, {prefer: {weight: 2.0}}]}
      - {name: b, reason: R., actions: [{annotate: {owner: team}}, {prefer: {weight: 1.5}}]}
    """
    conditions = run({"packs": [pack(body)]}).conditions
    assert conditions.annotations == {"ticket": "OPS-1", "owner": "team"}
    assert conditions.preference == 3.0


def test_what_goes_with_a_clamp_happens_where_it_changed_something(pack, run):
    path = pack(CAP.replace("}}]", "}}, {require_approval: {}}]") % "700m")
    assert run({"packs": [path]}, cpu_request_cores=0.9).conditions.requires_approval
    assert not run({"packs": [path]}, cpu_request_cores=0.5, cpu_limit_cores=0.5).conditions.requires_approval


@pytest.mark.parametrize(("unknown", "vetoed"), [("skip", False), ("fire", True)])
@pytest.mark.parametrize("when", ["history.oom_kills > 0.0", 'labels["team"] == "x"', "1 / 0 > 1"])
def test_a_condition_on_what_is_not_known(pack, run, when, unknown, vetoed):
    body = f"""
    rules: [{{name: a, reason: R., when: '{when}', when_unknown: {unknown}, actions: [{{veto: {{}}}}]}}]
    """
    assert isinstance(run({"packs": [pack(body)]}), Declined) is vetoed


def test_a_bound_that_is_not_known_changes_nothing(pack, run):
    path = pack(CAP % "container.history.cpu_throttled_p95 * container.cpu_limit")
    assert run({"packs": [path]}).rules == ()


def test_the_class_is_set_before_the_strategy_is_asked(pack, book, situation):
    body = """
    rules:
      - name: night_jobs
        reason: Jobs may wait.
        when: labels["tier"] == "batch"
        actions: [{set_class: {to: batch}}]
    """
    context = situation(labels={"tier": "batch"})
    seen, fired = book(packs=[pack(body)]).rules_for(context.snapshot.workload).prepared(context)
    assert seen.snapshot.workload.service_class is ServiceClass.BATCH
    assert [(f.field, f.before, f.after) for f in fired] == [("class", "standard", "batch")]


def test_conditions_read_labels_of_workload_and_cluster(pack, run, situation):
    body = """
    rules:
      - name: a
        reason: R.
        when: labels["team"] == "risk" && cluster.labels["tier"] == "production"
        actions: [{veto: {}}]
    """
    config = {"packs": [pack(body)], "clusters": {"eu": {"tier": "production"}}}
    context = situation(labels={"team": "risk"}, cluster="eu")
    assert isinstance(run(config, context=context), Declined)
    assert not isinstance(run(config, context=situation(labels={"team": "risk"})), Declined)


def test_loops_are_bounded(pack, run, situation):
    """A condition that would run for days is given up as not known within moments."""
    body = """
    rules:
      - name: a
        reason: R.
        when: labels.all(a, labels.all(b, labels.all(c, labels.all(d, a + b + c + d != ""))))
        actions: [{veto: {}}]
    """
    context = situation(labels={f"label-{number}": "x" for number in range(200)})
    assert not isinstance(run({"packs": [pack(body)]}, context=context), Declined)


def twice(run, config, context, **quantities):
    once = run(config, context=context, **quantities)
    return once.proposal.target, run(config, once.proposal, context).proposal.target


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cpu=st.integers(1, 20_000),
    low=st.integers(1, 10_000),
    high=st.integers(1, 10_000),
    memory=st.integers(1, 8192),
)
def test_clamps_are_idempotent(pack, run, situation, cpu, low, high, memory):
    body = f"""
    rules:
      - name: a
        for: containers
        reason: R.
        actions:
          - clamp: {{fields: [cpu_request], at_least: {min(low, high)}m, at_most: {max(low, high)}m}}
          - clamp: {{fields: [cpu_limit], at_least: {high}m}}
          - clamp: {{fields: [memory_limit], at_most: {memory}Mi}}
    """
    config = {"packs": [pack(body)], "enable": "step-limits"}
    once, again = twice(run, config, situation(), cpu_request_cores=cpu / 1000, cpu_limit_cores=20.0)
    assert again == once


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cpu=st.integers(10, 20_000), step=st.integers(10, 700), way=st.sampled_from(["up", "down", "nearest"]))
def test_rounding_is_idempotent_and_meets_the_multiple(pack, run, situation, cpu, step, way):
    body = f"""
    rules:
      - name: a
        for: containers
        reason: R.
        actions: [{{round: {{fields: [cpu_request], to: {step}m, direction: {way}}}}}]
    """
    quantities = {"cpu_request_cores": cpu / 1000, "cpu_limit_cores": None}
    once, again = twice(run, {"packs": [pack(body)]}, situation(), **quantities)
    millicores = once.containers[0].cpu_request_cores * 1000
    assert again == once or millicores == 10  # the floor has the last word, and may be no multiple
    assert round(millicores) % step == 0 or millicores == 10
