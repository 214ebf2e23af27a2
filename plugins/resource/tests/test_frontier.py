"""Other trades of cost against confidence."""

from types import SimpleNamespace

import pytest

from perfopt.plugin import Container, PriceBook, WorkloadState
from perfopt_resource.frontier import frontier
from perfopt_resource.model.sizing_model import SizeChoice

BOOK = PriceBook(name="test", currency="EUR", cpu_core_hour=0.02, memory_gib_hour=0.005)
GIB = 2**30


def state(cpu, memory=GIB, replicas=2):
    main = Container(name="main", cpu_request_cores=cpu, memory_request_bytes=memory)
    return WorkloadState(containers=(main,), replicas=replicas)


def choice(cpu, confidence, memory=float(GIB)):
    return SizeChoice(cpu_cores=cpu, memory_bytes=memory, confidence=confidence, utility=0.0, cost_change=0.0)


def trades(*containers, current=None, recommended=None):
    names = ("main", "proxy")[: len(containers)]
    sizings = {
        name: SimpleNamespace(frontier=choices) for name, choices in zip(names, containers, strict=True)
    }
    return frontier(sizings, recommended or state(1.0), current or state(2.0), BOOK)


def points(reason):
    return [(point["confidence"], point["cost_change_percent"]) for point in reason.data["points"]]


def test_cost_is_set_against_the_present_one():
    # 2 cores and 1 GiB cost 0.045 an hour; 1 core and 1 GiB 0.025.
    reason = trades([choice(1.0, 0.9), choice(2.0, 0.97), choice(3.0, 0.99)])
    assert (reason.code, reason.data["relative_to"]) == ("frontier", "current")
    assert points(reason) == [(0.9, -44.4), (0.97, 0.0), (0.99, 44.4)]
    assert reason.text == (
        "Other trades of cost against confidence, relative to the current cost: -44 % cost at 0.90"
        " confidence; +0 % cost at 0.97 confidence; +44 % cost at 0.99 confidence."
    )


def test_without_a_present_cost_it_is_set_against_what_is_recommended():
    reason = trades([choice(2.0, 0.9)], current=state(None))
    assert reason.data["relative_to"] == "recommended"
    assert points(reason) == [(0.9, 80.0)]


def test_a_pods_confidence_is_that_of_all_its_containers():
    reason = trades([choice(1.0, 0.9)], [choice(1.0, 0.8)])
    assert points(reason) == [(0.72, pytest.approx(11.1))]


def test_of_two_trades_of_one_confidence_the_cheaper_is_shown():
    reason = trades([choice(2.0, 0.901), choice(1.0, 0.904), choice(3.0, 0.9)])
    assert points(reason) == [(0.9, -44.4)]


def test_costs_that_are_not_known_make_no_trade():
    assert trades([choice(1.0, 0.9, memory=None)]) is None
    assert trades([choice(1.0, 0.9)], current=state(None), recommended=state(None)) is None
    assert trades([]) is None


def test_a_sentence_names_the_ends_and_the_middle():
    reason = trades([choice(1.0 + number, 0.5 + number / 10) for number in range(5)])
    assert len(points(reason)) == 5
    assert [text.split(" ")[-2] for text in reason.text.split(": ")[1].split(";")] == ["0.50", "0.70", "0.90"]


def test_each_trade_names_the_sizes_of_every_container():
    reason = trades([choice(1.0, 0.9)], [choice(0.25, 0.8, memory=2.0 * GIB)])
    (point,) = reason.data["points"]
    assert point["containers"] == {
        "main": {"cpu_request": "1", "memory_request": "1Gi"},
        "proxy": {"cpu_request": "250m", "memory_request": "2Gi"},
    }


def test_memory_of_a_trade_is_whole_mebibytes_as_kubernetes_writes_them():
    reason = trades([choice(1.0, 0.9, memory=1776408498.0)])
    (point,) = reason.data["points"]
    assert point["containers"]["main"]["memory_request"] == "1695Mi"
