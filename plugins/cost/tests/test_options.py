"""Sizes, requests and limits of COST, by figures known by hand."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Container, NodeType, PriceBook, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_cost.allowed import AllowedChanges
from perfopt_cost.availability import AvailabilityNeeds
from perfopt_cost.calibration import DemandBound
from perfopt_cost.demand import ContainerDemand
from perfopt_cost.hours import HOURS, KINDS, SchedulePeriod, whole
from perfopt_cost.options import (
    CandidateSizes,
    container_of,
    memory_for_load,
    needed_alive,
    optimization_model,
    sizes_of,
    whole_mebibytes,
    whole_millicores,
)

MIB = 2**20


def need(cpu=1.0, memory=100 * MIB, least=40 * MIB, seen=1.0):
    return ContainerDemand(
        name="main",
        cpu=None if cpu is None else DemandBound(cpu, cpu, 0.9),
        memory=None if memory is None else DemandBound(memory, memory, 0.9),
        memory_least=least,
        cpu_seen=seen,
        shape=np.ones((KINDS, HOURS)),
    )


def allowed(running=4, floor=1, least=2, **fields):
    values = {
        "cpu": True, "memory": True, "replicas": True, "running": running, "floor": floor, "least": least,
        "spot_share": 0.0, "steady": 0, "load": 1.0, "reasons": (),
        "availability": AvailabilityNeeds(floor, 2, True, False),
    }  # fmt: skip
    return AllowedChanges(**(values | fields))


def context_of(**container):
    state = WorkloadState(containers=(Container(name="main", **container),), replicas=4)
    return make_context(make_snapshot(state=state))


def test_requests_are_whole_millicores_and_mebibytes_no_less_than_the_floors():
    assert [whole_millicores(cores) for cores in (0.0, 0.0101, 0.25, 0.2500000001)] == [
        0.01,
        0.011,
        0.25,
        0.25,
    ]
    assert [whole_mebibytes(size) for size in (0.0, 16.5 * MIB, 20 * MIB, 20 * MIB + 0.1)] == [
        16 * MIB, 17 * MIB, 20 * MIB, 20 * MIB,
    ]  # fmt: skip


def test_sizes_carry_the_load_on_fewer_replicas():
    sizes = sizes_of(context_of(cpu_request_cores=4.0), [need()], allowed())
    pairs = list(zip(sizes.for_cpu.tolist(), sizes.for_memory.tolist(), strict=True))
    assert pairs == [(p, q) for p in (2, 3, 4) for q in (1, 2, 3, 4) if q <= p]
    cpu = dict(zip(pairs, sizes.cpu[0].tolist(), strict=True))
    memory = dict(zip(pairs, (sizes.memory[0] / MIB).tolist(), strict=True))
    assert (cpu[2, 1], cpu[3, 1], cpu[4, 4]) == (2.0, 1.334, 1.0)
    # 40 MiB stay, 60 MiB follow the load of a replica: 4, 2 and once as much.
    assert (memory[2, 1], memory[2, 2], memory[4, 4]) == (280, 160, 100)


def test_no_replica_carries_more_than_its_request_or_a_quarter_above_what_was_seen():
    tight = sizes_of(context_of(cpu_request_cores=1.0), [need(seen=1.0)], allowed())
    assert set(tight.for_cpu.tolist()) == {4}
    seen = sizes_of(context_of(cpu_request_cores=1.0), [need(seen=1.6)], allowed())
    assert set(seen.for_cpu.tolist()) == {2, 3, 4}
    unset = sizes_of(context_of(), [need(seen=1.07)], allowed())
    assert set(unset.for_cpu.tolist()) == {3, 4}


def test_what_may_not_change_or_is_not_measured_keeps_its_request():
    context = context_of(cpu_request_cores=3.0, memory_request_bytes=77 * MIB)
    held = sizes_of(context, [need()], allowed(cpu=False, memory=False, replicas=False))
    assert (held.cpu.tolist(), held.memory.tolist(), held.for_cpu.tolist()) == ([[3.0]], [[77.0 * MIB]], [4])
    unmeasured = sizes_of(context, [need(cpu=None, memory=None)], allowed(replicas=False))
    assert (unmeasured.cpu.tolist(), unmeasured.memory.tolist()) == ([[3.0]], [[77.0 * MIB]])


def test_at_most_sixteen_numbers_of_replicas_are_tried():
    sizes = sizes_of(context_of(cpu_request_cores=200.0), [need()], allowed(running=100, floor=100, least=10))
    counts = np.unique(sizes.for_cpu)
    assert (counts.size, counts[0], counts[-1]) == (1, 100, 100)  # none runs fewer than the floor
    wide = sizes_of(context_of(cpu_request_cores=200.0), [need()], allowed(running=100, floor=1, least=10))
    counts = np.unique(wide.for_cpu)
    assert (counts.size, counts[0], counts[-1]) == (16, 10, 100)


def test_a_container_that_the_state_does_not_name_is_sized_by_its_need():
    state = WorkloadState(containers=(Container(name="other"),), replicas=4)
    sizes = sizes_of(make_context(make_snapshot(state=state)), [need(seen=1.6)], allowed())
    assert sorted(set(zip(sizes.for_cpu.tolist(), sizes.cpu[0].tolist(), strict=True))) == [
        (2, 2.0),
        (3, 1.334),
        (4, 1.0),
    ]
    held = sizes_of(make_context(make_snapshot(state=state)), [need()], allowed(cpu=False, memory=False))
    assert set(held.cpu[0].tolist()) == set(held.memory[0].tolist()) == {0.0}


MEDIUM = NodeType(name="medium", cores=8, memory_bytes=32 * 1024 * MIB, price_hour=0.32, spot_price_hour=0.08)
SMALL = NodeType(name="small", cores=2, memory_bytes=8 * 1024 * MIB, price_hour=0.10)
BOOK = PriceBook(name="test", currency="EUR", cpu_core_hour=0.02, memory_gib_hour=0.005)


def model(choice, *, given=None, book=BOOK, periods=None, **changes):
    context = replace(context_of(cpu_request_cores=1.0), price_book=book)
    given = given or need()
    made, places = optimization_model(context, [given], allowed(**changes), choice, periods or whole(context))
    return made, places


def choices(*sizes, for_memory=1.0):
    """Sizes of one container: (cores, MiB)."""
    cpu, memory = np.array(sizes, dtype=float).T
    least = np.full(cpu.size, for_memory)
    return CandidateSizes(cpu[None], memory[None] * MIB, least, least)


def test_replicas_of_a_size_carry_the_load_exactly():
    # 4 replicas of 1 core: 4 cores in all.
    made, _ = model(choices((1.0, 100), (0.999, 100), (2.0, 100), (3.0, 100), (0.0, 100)), least=1)
    assert made.least.tolist() == [[4, 5, 2, 2, 400]]
    assert (made.most, made.spot_share, made.steady) == (4, 0.0, 0)
    held, _ = model(choices((1.0, 100)), least=1, floor=7)
    assert (held.least.tolist(), held.most) == ([[7]], 7)
    fixed, _ = model(choices((3.0, 100)), replicas=False)
    assert fixed.least.tolist() == [[4]]
    by_memory, _ = model(choices((3.0, 100), for_memory=6.0), least=1)
    assert by_memory.least.tolist() == [[6]]


def test_a_quieter_hour_is_narrowed_by_as_much_as_its_load_falls():
    shape = np.ones((KINDS, HOURS))
    shape[0, :8] = 0.5
    night = np.zeros(KINDS * HOURS, bool)
    night[:8] = True
    periods = [SchedulePeriod(night, 40.0), SchedulePeriod(~night, 128.0)]
    given = replace(need(), shape=shape)
    made, _ = model(choices((1.0, 100), (9.0, 100)), given=given, periods=periods, least=4)
    assert made.least.tolist() == [[2, 2], [4, 4]]
    assert made.hours.tolist() == [40.0, 128.0]


def test_without_node_types_there_is_one_place_at_the_books_price():
    made, places = model(choices((1.0, 1024), (2.0, 2048)))
    assert places == (None,)
    np.testing.assert_allclose(made.demand_price, [[0.025], [0.05]])
    assert made.spot_price.shape == (2, 1)
    assert np.isnan(made.spot_price).all()
    nowhere = msgspec.structs.replace(BOOK, node_types=(SMALL,))
    assert model(choices((4.0, 1024)), book=nowhere)[1] == (None,)


def test_a_place_costs_its_share_of_a_node_where_a_replica_fits():
    book = msgspec.structs.replace(BOOK, node_types=(MEDIUM, SMALL))
    made, places = model(
        choices((1.0, 1024), (2.0, 1024), (4.0, 1024), (9.0, 1024)), book=book, spot_share=0.5
    )
    assert places == (MEDIUM, SMALL)
    # The cheapest place costs what the book says: 0.04 an hour a core on medium, 0.05 on small.
    np.testing.assert_allclose(
        made.demand_price,
        [[0.025, 0.03125], [0.045, 0.05625], [0.085, np.nan], [np.nan, np.nan]],
    )
    np.testing.assert_allclose(
        made.spot_price, [[0.00625, np.nan], [0.01125, np.nan], [0.02125, np.nan], [np.nan, np.nan]]
    )
    none, _ = model(choices((1.0, 1024)), book=book)
    assert np.isnan(none.spot_price).all()  # spot is not allowed


def sizes(cpu=1.0, memory=100 * MIB, at_peak=2.0):
    return CandidateSizes(
        np.array([[cpu]]), np.array([[float(memory)]]), np.array([1.0]), np.array([at_peak])
    )


def alive(context, given, *, peak=1.0, **size):
    return needed_alive(context, [given], allowed(), sizes(**size), peak).tolist()


def test_replicas_left_by_a_lost_zone_carry_the_load_within_their_limits():
    # 4 replicas of 1 core; a limit of 1.5 cores rises to 3 with twice the load of a replica.
    assert alive(context_of(cpu_limit_cores=1.5), need(memory=None)) == [pytest.approx(4 / 3)]
    assert alive(context_of(cpu_limit_cores=1.5), need(memory=None), peak=0.5) == [pytest.approx(2 / 3)]
    assert alive(context_of(cpu_limit_cores=1.5), need(memory=None), at_peak=8.0) == [pytest.approx(4 / 1.5)]
    assert alive(context_of(cpu_limit_cores=0.1), need(memory=None), cpu=2.0) == [2.0]
    assert alive(context_of(), need()) == [0.0]


def test_memory_that_follows_the_load_fits_into_the_limits_of_those_left():
    # 60 MiB a replica follow the load, 240 in all; a limit of 160 MiB leaves 120 above the least.
    given = need(cpu=None)
    assert alive(context_of(memory_limit_bytes=160 * MIB), given) == [2.0]
    assert alive(context_of(memory_limit_bytes=160 * MIB), given, peak=0.5) == [1.0]
    assert alive(context_of(memory_limit_bytes=90 * MIB), given, memory=100 * MIB) == [4.0]
    assert alive(context_of(memory_limit_bytes=40 * MIB), given, memory=40 * MIB) == [240.0]


def test_limits_rise_with_the_load_and_never_stand_below_a_request():
    old = Container(
        name="main", cpu_request_cores=1.0, cpu_limit_cores=2.0,
        memory_request_bytes=100 * MIB, memory_limit_bytes=120 * MIB,
    )  # fmt: skip
    new = container_of(old, need(), 0.5, 130.0 * MIB, 1.5)
    assert (new.cpu_request_cores, new.cpu_limit_cores) == (0.5, 3.0)
    assert (new.memory_request_bytes, new.memory_limit_bytes) == (130 * MIB, 130 * MIB)
    less = container_of(old, need(), 2.5, 50.0 * MIB, 0.5)
    assert (less.cpu_request_cores, less.cpu_limit_cores) == (2.5, 2.5)
    assert (less.memory_request_bytes, less.memory_limit_bytes) == (50 * MIB, 120 * MIB)
    free = container_of(Container(name="main"), need(), 0.5, 50.0 * MIB, 2.0)
    assert (free.cpu_limit_cores, free.memory_limit_bytes) == (None, None)
    unmeasured = container_of(old, need(cpu=None, memory=None), 0.5, 50.0 * MIB, 1.0)
    assert unmeasured == old


@pytest.mark.parametrize(
    ("current", "wanted", "kept"),
    [(0.2, 0.185, True), (0.2, 0.17, False), (1.0, 0.97, False), (0.3, 0.276, True), (0.2, 0.2001, False)],
)
def test_a_small_fall_is_not_worth_a_restart(current, wanted, kept):
    new = container_of(Container(name="main", cpu_request_cores=current), need(memory=None), wanted, 0.0, 1.0)
    assert new.cpu_request_cores == (current if kept else wanted)


@pytest.mark.parametrize(("wanted", "kept"), [(369, True), (367, False)])
def test_a_fall_of_memory_below_32_mib_and_a_tenth_is_small(wanted, kept):
    old = Container(name="main", memory_request_bytes=400 * MIB)
    new = container_of(old, need(cpu=None), 0.0, float(wanted * MIB), 1.0)
    assert new.memory_request_bytes == (400 if kept else wanted) * MIB


def test_memory_for_fewer_replicas_is_no_less_than_what_is_there():
    old = Container(name="main", memory_request_bytes=90 * MIB, memory_limit_bytes=110 * MIB)
    assert memory_for_load(old, need(), 2.0).memory_request_bytes == 160 * MIB
    assert memory_for_load(old, need(), 2.0).memory_limit_bytes == 160 * MIB
    assert memory_for_load(old, need(), 1.1).memory_limit_bytes == 110 * MIB
    roomy = Container(name="main", memory_request_bytes=900 * MIB)
    assert memory_for_load(roomy, need(), 2.0) == roomy
    assert memory_for_load(old, need(memory=None), 2.0) == old
    assert memory_for_load(Container(name="main"), need(), 2.0) == Container(name="main")
