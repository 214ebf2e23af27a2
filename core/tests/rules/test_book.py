import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfopt.config.loading import RulesConfig
from perfopt.errors import InvalidInputError
from perfopt.plugin import Declined
from perfopt.rules import RuleSources, pack_settings

MIB = 2**20
GRANT = """
%s
parameters:
  cpu: {type: cpu, default: %s, tighten: lower, description: The grant.}
rules:
  - name: %s
    for: containers
    reason: No more than granted.
    actions: [{clamp: {fields: [cpu_request, cpu_limit], at_most: params.cpu}}]
"""


def grant(pack, name="grant", cpu="800m", header=""):
    return pack(GRANT % (header, cpu, name.replace("-", "_")), name)


def limit(result):
    return result.proposal.target.containers[0].cpu_limit_cores


def test_layers_run_in_order_and_the_later_has_the_last_word(pack, run, situation):
    body = "%srules: [{name: a, for: containers, reason: R., actions: [{clamp: {fields: [cpu_limit], %s}}]}]"
    first = pack(body % ("priority: 1\n", "at_most: 1500m"), "zz")
    second = pack(body % ("", "at_most: 1800m"), "aa")
    config = {
        "packs": [first, second],
        "namespaces": {"risk": {"packs": [pack(body % ("", "at_least: 3"), "own")]}},
    }
    order = [
        one.layered.pack.name
        for one in pack_settings(RuleSources.read(msgspec.convert(config, RulesConfig)), "risk")
    ]
    assert [name for name in order if name in ("zz", "aa", "own")] == ["zz", "aa", "own"]
    assert order[-3:] == ["floors", "cluster-limits", "memory-peak"]
    assert limit(run(config, context=situation(namespace="risk"))) == 3
    assert limit(run(config)) == 1.5


def test_a_namespace_has_its_own_packs_switches_and_parameters(pack, run, situation):
    path = grant(pack, header="enabled: false")
    config = {
        "packs": [path],
        "namespaces": {"risk": {"enable": ["grant"], "parameters": {"grant": {"cpu": "600m"}}}},
    }
    assert limit(run(config)) == 2
    assert limit(run(config, context=situation(namespace="risk"))) == 0.6


def test_an_annotation_enables_and_tightens_and_can_do_no_more(pack, book, run, situation):
    config = {"packs": [grant(pack, header="enabled: false")]}
    annotated = situation(annotations={"perfopt.io/rules": "grant", "perfopt.io/rules.grant.cpu": "300m"})
    assert limit(run(config, context=annotated)) == 0.3
    wide = situation(annotations={"perfopt.io/rules": "grant", "perfopt.io/rules.grant.cpu": "4"})
    assert limit(run(config, context=wide)) == 0.8
    (warning,) = book(**config).warnings_for(wide.snapshot.workload)
    assert "may not loosen" in warning.message
    assert "800m holds" in warning.message


def test_annotations_work_as_kube_state_metrics_spells_them(run, situation):
    annotated = situation(
        annotations={"perfopt_io_rules": "budget", "perfopt_io_rules_budget_over": "refuse"}
    )
    dear = {"parameters": {"budget": {"monthly": 0.01}}}
    assert isinstance(run(dear, context=annotated, cpu_request_cores=2.0), Declined)


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"perfopt.io/rules": "nothing"}, "there is no rule pack 'nothing'"),
        ({"perfopt.io/rules.floors.disc": "1"}, "names no parameter"),
        ({"perfopt.io/rules.floors.cpu": "1Gi"}, "quantity of memory"),
        ({"perfopt.io/rules.floors.cpu": "1m"}, "may not loosen"),
    ],
)
def test_a_wrong_annotation_is_a_warning_and_the_rest_holds(book, run, situation, annotations, said):
    context = situation(annotations=annotations)
    (warning,) = book().warnings_for(context.snapshot.workload)
    assert warning.code == "rules_annotation"
    assert said in warning.message
    assert run({}, context=context, cpu_request_cores=0.001).rules[0].rule == "floor"


def test_a_workload_can_protect_itself_and_not_unprotect(run, situation):
    shrunk = {"perfopt.io/rules.protected-namespaces.namespaces": "risk"}
    assert isinstance(run({}, context=situation(namespace="kube-system", annotations=shrunk)), Declined)
    assert isinstance(run({}, context=situation(namespace="risk", annotations=shrunk)), Declined)
    freed = {"parameters": {"protected-namespaces": {"namespaces": []}}}
    assert not isinstance(run(freed, context=situation(namespace="kube-system")), Declined)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"disable": "floors"}, "can't be switched off"),
        ({"enable": "marked-hours"}, "Did you mean 'market-hours'?"),
        ({"parameters": {"floors": {"cpu": "1m"}}}, "would widen"),
        ({"parameters": {"floors": {"cpus": "1"}}}, "Did you mean 'cpu'?"),
        ({"parameters": {"budget": {"over": "perhaps"}}}, "Allowed: approve, refuse"),
        ({"namespaces": {"x": {"parameters": {"floors": {"memory": "1Mi"}}}}}, "would widen"),
        ({"packs": "/nowhere.yaml"}, "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_refused(book, config, said):
    with pytest.raises(InvalidInputError) as caught:
        book(**config)
    assert said in str(caught.value)


def test_two_packs_of_one_name_are_refused(pack, book):
    with pytest.raises(InvalidInputError, match="Two rule packs are named 'floors'"):
        book(packs=[grant(pack, "floors")])


def test_safety_bounds_that_contradict_each_other_veto(pack, run):
    result = run({"packs": [grant(pack, cpu="5m", header="safety: true")]})
    assert isinstance(result, Declined)
    assert "contradict each other" in result.reason
    assert "grant/grant" in result.reason
    assert set(result.holds) == {"cpu_request", "memory_request", "cpu_limit", "memory_limit"}


def test_a_contradiction_states_the_bounds_of_each_field_and_the_remedy(pack, run):
    body = """
        safety: true
        rules:
          - name: least
            for: containers
            reason: Raised to what users need.
            actions: [clamp: {fields: [memory_request], at_least: 300Mi}]
          - name: most
            for: containers
            reason: Lowered to the budget.
            remedy: Raise the budget of the team.
            actions: [clamp: {fields: [memory_request], at_most: 200Mi}]
    """
    result = run({"packs": [pack(body)]})
    assert isinstance(result, Declined)
    assert result.reason == (
        "Raise the budget of the team. Safety rules contradict each other: main memory_request would have to"
        " be at least 300Mi (mine/least: raised to what users need) and at most 200Mi (mine/most: lowered to"
        " the budget)."
    )


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    at_most=st.integers(1, 400),
    grant_millicores=st.integers(100, 3000),
    raised=st.integers(1, 9000),
    annotation=st.integers(1, 9000),
    cpu=st.integers(1, 9000),
    memory=st.integers(1, 2000),
)
def test_no_rule_parameter_or_annotation_widens_a_safety_bound(
    pack, run, situation, at_most, grant_millicores, raised, annotation, cpu, memory
):
    """Packs of later layers pull the other way with all they have."""
    pull = f"""
    rules:
      - name: pull
        for: containers
        reason: R.
        actions:
          - clamp: {{fields: [cpu_request, cpu_limit], at_least: {raised}m}}
          - clamp: {{fields: [memory_request, memory_limit], at_most: {at_most}Mi}}
    """
    config = {
        "packs": [grant(pack, cpu=f"{grant_millicores}m", header="safety: true"), pack(pull, "pull")],
        "namespaces": {"risk": {"packs": [pack(pull, "local")]}},
    }
    annotations = {f"perfopt.io/rules.{name}": f"{annotation}m" for name in ("grant.cpu", "floors.cpu")}
    context = situation(namespace="risk", annotations=annotations)
    result = run(config, context=context, cpu_request_cores=cpu / 1000, memory_request_bytes=memory * MIB)
    if isinstance(result, Declined):  # the annotation asked for a floor above the grant
        assert max(annotation, 10) > min(annotation, grant_millicores)
        return
    container = result.proposal.target.containers[0]
    assert 0.01 <= container.cpu_request_cores <= container.cpu_limit_cores <= grant_millicores / 1000
    assert container.memory_limit_bytes >= container.memory_request_bytes >= 100 * MIB  # what it held
