"""What is made of OpenCost's series: a price book for each cluster."""

import pytest

from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.opencost import price_books


def node(name, cores=4.0, gib=16.0, cpu=0.03, ram=0.003, spot=None, kind="m.xlarge", **more):
    labels = {"node": name, "instance_type": kind} | more
    samples = [
        InstantSample(labels | {"__name__": "node_cpu_hourly_cost"}, cpu),
        InstantSample(labels | {"__name__": "node_ram_hourly_cost"}, ram),
    ]
    capacity = {"__name__": "kube_node_status_capacity", "node": name} | more
    samples += [
        InstantSample(capacity | {"resource": "cpu"}, cores),
        InstantSample(capacity | {"resource": "memory"}, gib * 2**30),
    ]
    if spot is not None:
        samples.append(InstantSample(labels | {"__name__": "kubecost_node_is_spot"}, spot))
    return samples


def books(*nodes):
    return price_books([sample for samples in nodes for sample in samples], "cluster", "USD")


def test_prices_are_means_weighted_by_capacity_on_demand():
    book = books(node("a", cores=4, cpu=0.04), node("b", cores=12, cpu=0.02), node("c", cpu=0.001, spot=1.0))[
        ""
    ]
    assert book.cpu_core_hour == pytest.approx((4 * 0.04 + 12 * 0.02) / 16)
    assert book.memory_gib_hour == pytest.approx(0.003)


def test_a_type_with_spot_nodes_only_is_not_one_to_rent_on_demand():
    found = books(node("a", spot=1.0, kind="s"), node("b", kind="d"))[""]
    assert [kind.name for kind in found.node_types] == ["d"]
    assert books(node("a", spot=1.0, kind="s"))[""].node_types == ()


def test_each_cluster_has_its_own_book_and_nodes_without_prices_have_none():
    found = books(node("a", cluster="x"), node("a", cluster="y", cpu=0.1), node("b", cores=0.0, cluster="z"))
    assert {cluster: book.name for cluster, book in found.items()} == {"x": "opencost/x", "y": "opencost/y"}
    assert found["y"].cpu_core_hour == pytest.approx(0.1)
    bare = [sample for sample in node("a") if sample.labels["__name__"].startswith("kube_")]
    assert price_books(bare, "cluster", "USD") == {}
