"""Stored results of older versions are read with the names of this one."""

import msgspec

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import Conflict, Declined, Evidence
from perfopt.domain.workload import WorkloadState
from perfopt.plugin import Proposal


def test_old_conflict_codes_are_read_as_the_new_ones() -> None:
    names = {
        "goes_together": "dependent_field",
        "breaches_together": "joint_violation",
        "enough_without": "redundant",
        "not_worth_it": "no_net_benefit",
        "same_field": "same_field",
    }
    for old, new in names.items():
        stored = {
            "field": "replicas",
            "code": old,
            "wanted": 2,
            "kept": 4,
            "lost_by": "cost/cost",
            "lost_by_type": OptimizationType.COST_OPTIMIZATION,
            "won_by": None,
            "won_by_type": None,
            "reason": "x",
        }
        assert msgspec.convert(stored, Conflict).code == new


def test_old_decline_code_is_read_as_the_new_one() -> None:
    stored = b'{"optimization_type": "COST_OPTIMIZATION", "code": "not_worth_it", "reason": "x"}'
    assert msgspec.json.decode(stored, type=Declined).code is DeclineCode.NO_NET_BENEFIT
    assert DeclineCode("not_worth_it") is DeclineCode.NO_NET_BENEFIT


def test_evidence_of_older_versions_is_read() -> None:
    stored = b'{"windows": [], "definition": "section 5"}'
    assert msgspec.json.decode(stored, type=Evidence) == Evidence(windows=())


def test_the_older_name_of_no_change_needed_is_an_argument_of_proposals() -> None:
    target = WorkloadState(containers=())
    kind = OptimizationType.COST_OPTIMIZATION
    older = Proposal(optimization_type=kind, target=target, description="x", already_right=True)
    assert older == Proposal(optimization_type=kind, target=target, description="x", no_change_needed=True)
    assert not msgspec.structs.replace(older, no_change_needed=False).no_change_needed
