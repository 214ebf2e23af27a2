"""A zone may be lost: what is recommended keeps enough replicas elsewhere, and says how they are spread."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.plugin import ServiceClass
from perfopt.testing import make_snapshot
from perfopt_cost.availability import AvailabilityNeeds, availability_of, fewest, survivors

THREE = ("eu-1a", "eu-1b", "eu-1c")


@pytest.mark.parametrize(
    ("kind", "running", "floor"),
    [
        (ServiceClass.CRITICAL, 1, 2),
        (ServiceClass.CRITICAL, 5, 2),
        (ServiceClass.STANDARD, 1, 1),
        (ServiceClass.STANDARD, 2, 2),
        (ServiceClass.STANDARD, 5, 2),
        (ServiceClass.BATCH, 5, 1),
    ],
)
def test_the_class_of_a_service_says_how_many_replicas_it_keeps(kind, running, floor):
    def of(*zones):
        return availability_of(
            msgspec.structs.replace(make_snapshot().workload, service_class=kind, zones=zones), running
        )

    critical = kind is ServiceClass.CRITICAL
    assert of(*THREE) == AvailabilityNeeds(floor, 3, True, critical)
    assert of() == AvailabilityNeeds(floor, 2, False, critical)  # two zones where none is known
    assert of("eu-1a") == AvailabilityNeeds(floor, 1, True, False)
    assert of(*THREE).spread is (floor > 1)
    assert not of("eu-1a").spread


def reason(proposal, code):
    return next(reason for reason in proposal.reasons if reason.code == code)


def spread(replicas, zones):
    """Returns replicas by zone, as even as can be, by dealing them out one after the other."""
    counts = [0] * zones
    for number in range(replicas):
        counts[number % zones] += 1
    return counts


@given(st.integers(0, 60), st.integers(1, 6))
def test_survivors_are_those_outside_the_fullest_zone(replicas, zones):
    counts = spread(replicas, zones)
    assert survivors(replicas, zones) == replicas - max(counts)


@given(st.integers(0, 40), st.integers(2, 6))
def test_the_fewest_are_the_fewest(left, zones):
    count = int(fewest(np.array(float(left)), zones))
    assert survivors(count, zones) >= left
    assert count == 0 or survivors(count - 1, zones) < left


def ask_critical(bench, zones, **options):
    """A service that needs few of its replicas and has limits of twice what a replica needs."""
    narrow = {"cpu_limit_cores": 1.2, "cpu_request_cores": 1.2, "memory_limit_bytes": 16 * 2**30}
    asked = {"replicas": 8, "container": narrow, "service_class": ServiceClass.CRITICAL, "zones": zones}
    return bench.ask(bench.cpu(busy=0.15), **(asked | options))


def test_a_critical_service_keeps_enough_replicas_to_lose_a_zone(bench):
    tight = {"cpu_limit_cores": 0.6, "cpu_request_cores": 1.2, "memory_limit_bytes": 16 * 2**30}
    in_two, in_three, in_four = (
        ask_critical(bench, (*THREE, "eu-1d")[:zones], container=tight) for zones in (2, 3, 4)
    )
    assert in_two.target.replicas > in_three.target.replicas >= in_four.target.replicas
    for proposal, zones in ((in_three, 3), (in_four, 4)):
        (container,) = proposal.target.containers
        alive = survivors(proposal.target.replicas, zones)
        assert alive * container.cpu_limit_cores >= 8 * 0.15
        assert f"leaves {alive} of {proposal.target.replicas} replicas" in reason(proposal, "zone_loss").text


def test_what_a_zone_leaves_today_is_enough_where_the_load_asks_for_more(bench):
    """Two full replicas can't lose one under load, whatever is recommended: two are kept, not four."""
    full = {"cpu_request_cores": 1.0, "cpu_limit_cores": 0.25}
    proposal = ask_critical(bench, THREE, replicas=2, container=full)
    assert proposal.target.replicas == 2


@pytest.mark.parametrize(
    ("service_class", "zones", "key", "when"),
    [
        (ServiceClass.CRITICAL, THREE, "topology.kubernetes.io/zone", "DoNotSchedule"),
        (ServiceClass.CRITICAL, (), "topology.kubernetes.io/zone", "ScheduleAnyway"),
        (ServiceClass.STANDARD, THREE, "topology.kubernetes.io/zone", "ScheduleAnyway"),
        (ServiceClass.CRITICAL, THREE[:1], "kubernetes.io/hostname", "ScheduleAnyway"),
    ],
)
def test_fewer_replicas_come_with_the_spread_they_count_on(bench, service_class, zones, key, when):
    proposal = ask_critical(bench, zones, service_class=service_class, labels={"app": "web"})
    assert proposal.target.replicas < 8
    assert proposal.target.extra["topology_spread_constraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    if len(zones) == 1:
        assert "its one zone takes it down" in reason(proposal, "availability").text


def test_a_spread_that_is_set_stays_as_it_is(bench):
    own = {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    proposal = ask_critical(bench, THREE, extra={"topology_spread_constraints": [own]})
    assert proposal.target.extra["topology_spread_constraints"] == [own]


def test_batch_and_smaller_replicas_alone_need_no_spread(bench):
    batch = ask_critical(bench, THREE, service_class=ServiceClass.BATCH)
    assert "topology_spread_constraints" not in batch.target.extra
    sized = ask_critical(bench, THREE, replicas=2)
    assert sized.target.replicas == 2
    assert "topology_spread_constraints" not in sized.target.extra


def test_without_its_spot_replicas_a_service_still_outlives_a_zone(bench, book):
    proposal = ask_critical(bench, THREE, service_class=ServiceClass.STANDARD, book=book)
    steady = round(proposal.target.replicas * (1 - proposal.target.extra["spot_share"]))
    assert survivors(steady, 3) >= 1
    none = ask_critical(bench, THREE, service_class=ServiceClass.STANDARD, replicas=2, book=book)
    assert "spot_share" not in none.target.extra
    large = msgspec.structs.replace(book, node_types=book.node_types[:1])
    assert "spot_share" not in ask_critical(bench, THREE, book=large).target.extra
