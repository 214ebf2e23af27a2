"""Where the pods of a recommendation run: spread over zones, node type, and what no patch can say of spot."""

from typing import Any

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.apply.target import PatchTarget

_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_NAME = "app.kubernetes.io/name"


def placement_of(
    recommendation: OptimizationRecommendation, target: PatchTarget
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns what a pod's spec gets of the recommended placement, and what the user has to know of it.

    A topologySpreadConstraint without a labelSelector selects no pod: it gets the name label, to be checked.
    """
    before, after = recommendation.current_state, recommendation.recommended_state
    spec: dict[str, Any] = {}
    notes: list[str] = []
    constraints = after.get("topology_spread_constraints")
    if constraints and constraints != before.get("topology_spread_constraints"):
        selector = {"matchLabels": {_NAME: target.name}}
        spec["topologySpreadConstraints"] = [{"labelSelector": selector} | one for one in constraints]
        notes.append("The labelSelector of the spread must match the labels of its pods: check it.")
    on_spot = after.get("spot_share", 0.0)
    if on_spot and on_spot != before.get("spot_share", 0.0):
        notes.append(
            f"{on_spot:.0%} of the replicas are meant for spot {after.get('node_type', 'nodes')}: that takes"
            " a second Deployment, or a spread over the label that tells your spot nodes apart."
        )
    elif after.get("node_type") and after["node_type"] != before.get("node_type"):
        spec["nodeSelector"] = {_INSTANCE_TYPE: after["node_type"]}
    return spec, tuple(notes)
