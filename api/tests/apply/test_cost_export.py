"""A cost recommendation is exported with the spread over zones, the HPA's minimum and the schedule."""

import pytest
import yaml

from perfopt.domain.enums import OptimizationType
from perfopt_api.apply.export import export

ZONES = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
SPAN = {"start": "2026-11-23T00:00:00+00:00", "end": "2026-11-30T00:00:00+00:00", "min_replicas": 3}


@pytest.fixture
def exported(make, states):
    """Exports a cost recommendation with keys of both states changed."""

    def changed(before=None, **after):
        current, wanted = states
        made = make(
            optimization_type=OptimizationType.COST_OPTIMIZATION,
            current_state={**current, **(before or {})},
            recommended_state={**wanted, **after},
        )
        return {artifact["kind"]: artifact for artifact in export(made)}

    return changed


def pod_spec(artifacts):
    return yaml.safe_load(artifacts["strategic_merge_patch"]["content"])["spec"]["template"]["spec"]


def test_the_spread_selects_its_own_pods(exported):
    found = exported(topology_spread_constraints=[ZONES])
    (constraint,) = pod_spec(found)["topologySpreadConstraints"]
    assert constraint.items() >= ZONES.items()
    assert constraint["labelSelector"]["matchLabels"]
    assert "labelSelector" in found["strategic_merge_patch"]["note"]
    own = ZONES | {"labelSelector": {"matchLabels": {"app": "web"}}}
    (kept,) = pod_spec(exported(topology_spread_constraints=[own]))["topologySpreadConstraints"]
    assert kept == own


def test_what_is_spread_already_is_left_alone(exported):
    before = {"topology_spread_constraints": [ZONES]}
    assert "topologySpreadConstraints" not in pod_spec(exported(before, **before))


def test_a_node_type_is_selected_and_spot_is_explained(exported):
    placed = exported(node_type="m6i.large")
    assert pod_spec(placed)["nodeSelector"] == {"node.kubernetes.io/instance-type": "m6i.large"}
    spot = exported(node_type="m6i.large", spot_share=0.5)
    assert "nodeSelector" not in pod_spec(spot)
    assert "50% of the replicas are meant for spot m6i.large" in spot["strategic_merge_patch"]["note"]


def test_a_lower_minimum_is_a_patch_of_the_hpa(exported):
    hpa = {"min_replicas": 6, "max_replicas": 12, "target_cpu_utilization_percent": 70}
    found = exported({"hpa": hpa}, hpa=hpa | {"min_replicas": 2})["hpa_patch"]
    assert yaml.safe_load(found["content"]) == {"spec": {"minReplicas": 2}}
    assert found["command"].startswith("kubectl patch hpa ")
    assert "hpa_patch" not in exported({"hpa": hpa}, hpa=hpa)


def test_a_schedule_comes_with_the_command_that_keeps_it(exported):
    found = exported(schedule=[SPAN])["replica_schedule"]
    assert yaml.safe_load(found["content"]) == {"schedule": [SPAN]}
    assert found["command"].endswith("--replicas 3")
