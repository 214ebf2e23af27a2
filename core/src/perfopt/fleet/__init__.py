"""What a cluster's nodes cost by packing its pods: a bound, a packing, and the gap between them. Pure."""

from perfopt.fleet.nodes import allocatable
from perfopt.fleet.packing import NodePacking, PackedNode, pack
from perfopt.fleet.pods import PodGroup, pod_group
from perfopt.fleet.relaxation import cheapest_possible
from perfopt.fleet.states import states_in_force, states_of_result
from perfopt.fleet.view import FleetBudget, FleetSide, FleetView, NodeBudget, WorkloadStates, fleet_view

__all__ = [
    "FleetBudget",
    "FleetSide",
    "FleetView",
    "NodeBudget",
    "NodePacking",
    "PackedNode",
    "PodGroup",
    "WorkloadStates",
    "allocatable",
    "cheapest_possible",
    "fleet_view",
    "pack",
    "pod_group",
    "states_in_force",
    "states_of_result",
]
