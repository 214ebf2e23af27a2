"""Rules reach what is neither a request nor a limit: knobs, scheduled minima and an autoscaler's settings."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfopt.plugin import Declined, HpaState, OptimizationType
from perfopt.rules import check_pack

SCALING, TUNING = OptimizationType.SCALING_OPTIMIZATION, OptimizationType.PERFORMANCE_TUNING
ONE = "rules: [{name: a, reason: R., %s actions: [{%s: {fields: [%s], %s}}]}]"
SCHEDULE = [
    {"start": "2026-03-02T00:00:00+00:00", "end": "2026-03-02T08:00:00+00:00", "min_replicas": 1},
    {"start": "2026-03-02T08:00:00+00:00", "end": "2026-03-02T20:00:00+00:00", "min_replicas": 6},
]
KNOBS = {"main": {"gomaxprocs": 8, "jvm_max_ram_percentage": 82.5, "jvm_collector": "G1"}}
TEMPLATE = {
    "env": {"GOMAXPROCS": "__gomaxprocs__", "JAVA_TOOL_OPTIONS": "-XX:Ram=__jvm_max_ram_percentage__"}
}


def rule(action, fields, bounds, extra=""):
    return ONE % (extra, action, fields, bounds)


def bounded(field, bounds, extra=""):
    return rule("clamp", field, bounds, extra)


@pytest.fixture
def scaled(situation, propose):
    """A context and a proposal of an autoscaler with a schedule."""
    context = situation()
    hpa = HpaState(min_replicas=2, max_replicas=9, target_cpu_utilization_percent=90)
    state = {"hpa": hpa, "extra": {"schedule": SCHEDULE}}
    return context, propose(context, state, SCALING)


@pytest.fixture
def tuned(situation, propose):
    """A context and a proposal of knobs."""
    context = situation()
    how = {"main": {"env": {"GOMAXPROCS": "8", "JAVA_TOOL_OPTIONS": "-XX:Ram=82.5"}}}
    proposal = propose(context, {"extra": {"knobs": KNOBS, "knob_settings": how}}, TUNING)
    return context, msgspec.structs.replace(proposal, data={"knob_templates": {"main": TEMPLATE}})


def test_every_span_of_a_schedule_is_held(pack, run, scaled):
    context, proposal = scaled
    path = pack(bounded("schedule.min_replicas", "at_least: 2, at_most: 4"))
    result = run({"packs": [path]}, proposal, context)
    assert [entry["min_replicas"] for entry in result.proposal.target.extra["schedule"]] == [2, 4]
    (fired,) = result.rules
    assert (fired.field, fired.before, fired.after) == ("schedule.min_replicas", "1 to 6", "2 to 4")
    assert result.proposal.description.endswith("Rules then hold schedule.min_replicas at 2 to 4.")
    assert [entry["min_replicas"] for entry in proposal.target.extra["schedule"]] == [1, 6]  # not altered


def test_the_target_of_an_autoscaler_is_held(pack, run, scaled):
    context, proposal = scaled
    path = pack(bounded("hpa.target_cpu_utilization_percent", "at_most: 70%"))
    result = run({"packs": [path]}, proposal, context)
    assert result.proposal.target.hpa.target_cpu_utilization_percent == 70
    assert [(f.field, f.before, f.after) for f in result.rules] == [
        ("hpa.target_cpu_utilization_percent", 90, 70)
    ]
    memory = pack(bounded("hpa.target_memory_utilization_percent", "at_most: 70"), "memory")
    assert run({"packs": [memory]}, proposal, context).rules == ()  # what is unset stays unset


def test_both_spellings_of_an_autoscalers_bounds_hold(pack, run, scaled):
    context, proposal = scaled
    old = run({"packs": [pack(bounded("hpa_max_replicas", "at_most: 5"))]}, proposal, context)
    new = run({"packs": [pack(bounded("hpa.max_replicas", "at_most: 5"))]}, proposal, context)
    assert old.proposal.target == new.proposal.target
    assert new.proposal.target.hpa.max_replicas == 5


@pytest.mark.parametrize(
    ("field", "extra"), [("knobs.main.gomaxprocs", ""), ("knobs.gomaxprocs", "for: containers,")]
)
def test_a_knob_is_held_and_put_into_force_as_it_is_held(pack, run, tuned, field, extra):
    context, proposal = tuned
    bound = "at_most: container.cpu_limit * 1.75" if extra else "at_most: 3.5"  # the limit is 2 cores
    result = run({"packs": [pack(bounded(field, bound, extra))]}, proposal, context)
    target = result.proposal.target.extra
    assert target["knobs"]["main"]["gomaxprocs"] == 3  # whole, as it was
    assert target["knob_settings"]["main"]["env"] == {
        "GOMAXPROCS": "3",
        "JAVA_TOOL_OPTIONS": "-XX:Ram=82.5",
    }
    assert [(f.container, f.field, f.before, f.after) for f in result.rules] == [
        ("main", "knobs.gomaxprocs", 8, 3)
    ]
    assert proposal.target.extra["knobs"] == KNOBS


def test_how_a_knob_is_set_is_said_in_words_where_the_plugin_gives_no_template(pack, run, tuned):
    context, proposal = tuned
    proposal = msgspec.structs.replace(proposal, data={})
    path = pack(bounded("knobs.main.jvm_max_ram_percentage", "at_most: 75"))
    target = run({"packs": [path]}, proposal, context).proposal.target
    assert "Set jvm_max_ram_percentage of main to 75.0." in target.extra["knob_settings"]["main"]["by_hand"]


def test_knobs_are_rounded_and_texts_and_others_stay(pack, run, tuned):
    context, proposal = tuned
    path = pack(rule("round", "knobs.main.jvm_max_ram_percentage", "to: 5, direction: down"))
    target = run({"packs": [path]}, proposal, context).proposal.target
    assert target.extra["knobs"]["main"] == KNOBS["main"] | {"jvm_max_ram_percentage": 80}
    for field in ("knobs.main.jvm_collector", "knobs.main.not_set", "knobs.proxy.gomaxprocs"):
        assert run({"packs": [pack(bounded(field, "at_most: 1"))]}, proposal, context).rules == ()


def test_conditions_read_knobs_schedules_and_targets(pack, run, tuned, scaled):
    refuses = "rules: [{name: a, reason: R., when: '%s', actions: [{veto: {}}]}]"
    for condition, (context, proposal) in (
        ('proposal.knobs["main.jvm_collector"] == "G1"', tuned),
        ('"main.gomaxprocs" in proposal.knobs && double(proposal.knobs["main.gomaxprocs"]) > 4.0', tuned),
        ("proposal.schedule_highest_replicas > 5 && proposal.schedule_lowest_replicas == 1", scaled),
        ("proposal.hpa_target_cpu_utilization_percent > 80", scaled),
    ):
        assert isinstance(run({"packs": [pack(refuses % condition)]}, proposal, context), Declined)


@pytest.mark.parametrize(
    ("field", "bounds", "extra", "said"),
    [
        ("hpa.min_replica", "at_least: 1", "", "Did you mean 'hpa.min_replicas'?"),
        ("schedule.max_replicas", "at_least: 1", "", "Did you mean 'schedule.min_replicas'?"),
        ("knobs.gomaxprocs", "at_least: 1", "", "Write knobs.CONTAINER.KNOB"),
        ("knobs.main.gomaxprocs", "at_least: 1", "for: containers,", "Write knobs.KNOB"),
        ("knobs.main.cpu_limit", "at_least: 1", "", "Write cpu_limit in a rule `for: containers`"),
        ("knobs.main.GOMAX%", "at_least: 1", "", "A knob has letters"),
        ("knobs.main.gomaxprocs", "at_least: 200m", "", "in the knob's own unit"),
        ("hpa.target_cpu_utilization_percent", "at_least: 0.7", "", "such as 70"),
        ("'hpa.min_replicas', 'hpa.target_cpu_utilization_percent'", "at_least: 1", "", "one unit"),
        ("hpa.min_replicas", "at_least: 1", "for: containers,", "a rule for the workload"),
    ],
)
def test_a_wrong_field_is_said_with_its_line(pack, field, bounds, extra, said):
    _, (problem,) = check_pack(Path(pack(bounded(field, bounds, extra))))
    assert "mine.yaml:6" in str(problem)
    assert said in str(problem)


counts = st.integers(1, 30)
PULLED = """
rules:
  - name: pull
    reason: R.
    actions:
      - clamp: {{fields: [schedule.min_replicas, hpa.min_replicas, hpa.max_replicas], at_least: {0}}}
      - clamp: {{fields: [knobs.main.gomaxprocs], at_least: {0}}}
      - clamp: {{fields: [hpa.target_cpu_utilization_percent], at_least: {0}}}
"""
GRANTED = """
safety: true
rules:
  - name: grant
    reason: R.
    actions:
      - clamp: {{fields: [schedule.min_replicas, hpa.max_replicas], at_most: {0}}}
      - clamp: {{fields: [knobs.main.gomaxprocs], at_most: {0}}}
      - clamp: {{fields: [hpa.target_cpu_utilization_percent], at_most: {1}}}
"""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    minima=st.lists(counts, min_size=1, max_size=4),
    bounds=st.tuples(counts, counts),
    target=st.integers(1, 100),
    procs=st.integers(1, 64),
    grant=counts,
    percent=st.integers(1, 100),
    pull=counts,
)
def test_no_rule_widens_what_a_safety_pack_bounds_and_bounds_are_idempotent(
    pack, book, situation, propose, minima, bounds, target, procs, grant, percent, pull
):
    context = situation()
    hpa = HpaState(min_replicas=min(bounds), max_replicas=max(bounds), target_cpu_utilization_percent=target)
    how = {"main": {"env": {"GOMAXPROCS": str(procs)}}}
    extra = {
        "schedule": [SCHEDULE[0] | {"min_replicas": count} for count in minima],
        "knobs": {"main": {"gomaxprocs": procs}},
        "knob_settings": how,
    }
    proposal = msgspec.structs.replace(
        propose(context, {"hpa": hpa, "extra": extra}, SCALING),
        data={"knob_templates": {"main": {"env": {"GOMAXPROCS": "__gomaxprocs__"}}}},
    )
    packs = [pack(GRANTED.format(grant, percent), "granted"), pack(PULLED.format(pull), "pulled")]
    rules = book(packs=packs).rules_for(context.snapshot.workload)
    once = rules.apply(proposal, context).proposal
    held = once.target
    assert max(entry["min_replicas"] for entry in held.extra["schedule"]) <= grant
    assert held.hpa.min_replicas <= held.hpa.max_replicas <= grant
    assert held.hpa.target_cpu_utilization_percent <= percent
    knob = held.extra["knobs"]["main"]["gomaxprocs"]
    assert knob <= grant
    assert held.extra["knob_settings"] == {"main": {"env": {"GOMAXPROCS": str(knob)}}}
    assert rules.bounded(once, context).proposal.target == held
    assert rules.apply(once, context).proposal.target == held
