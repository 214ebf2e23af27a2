import dataclasses
import re
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Container, DeclineCode, Declined, ServiceClass, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.model.sizing_model import hashed, shipped_model
from perfopt_resource.strategy import ResourceStrategy, recommend

GIB = 2**30


def of_class(snapshot, service_class):
    workload = msgspec.structs.replace(snapshot.workload, service_class=service_class)
    return dataclasses.replace(snapshot, workload=workload)


def reason(proposal, code):
    return next(reason for reason in proposal.reasons if reason.code == code)


def with_card(**changed):
    model = shipped_model()
    return dataclasses.replace(model, card=msgspec.structs.replace(model.card, **changed))


def test_each_recommendation_says_how_sure_the_model_is_of_it(bench):
    calm = bench.cpu(spread=0.01)
    restless = calm * np.repeat(np.random.default_rng(4).lognormal(0, 0.5, 14), 288)
    sure = [bench.ask(bench.snapshot({"cpu_cores": cpu})).prior for cpu in (calm, restless)]
    assert sure[0].mean != sure[1].mean
    assert "sizing 5 (sha256 " in sure[0].source


def test_a_dearer_shortage_buys_more_room_and_confidence(bench):
    asked = [bench.ask(of_class(bench.snapshot(), kind)) for kind in ServiceClass]
    by_class = dict(zip(ServiceClass, asked, strict=True))
    order = [by_class[kind] for kind in (ServiceClass.BATCH, ServiceClass.STANDARD, ServiceClass.CRITICAL)]
    cpu = [proposal.target.containers[0].cpu_request_cores for proposal in order]
    assert cpu == sorted(cpu)
    assert order[0].prior.mean < order[2].prior.mean


def test_the_trade_around_it_is_shown_from_cheap_to_sure(bench):
    trade = reason(bench.ask(), "frontier")
    points = trade.data["points"]
    assert trade.data["relative_to"] == "current"
    assert [p["confidence"] for p in points] == sorted(p["confidence"] for p in points)
    assert [p["cost_change_percent"] for p in points] == sorted(p["cost_change_percent"] for p in points)
    cheapest = points[0]
    assert f"{cheapest['cost_change_percent']:+.0f} % cost at {cheapest['confidence']:.2f}" in trade.text


def test_of_unknown_requests_the_trade_is_relative_to_what_is_recommended(bench):
    snapshot = make_snapshot(
        {"main": bench.history()}, state=WorkloadState(containers=(Container(name="main"),))
    )
    assert reason(bench.ask(snapshot), "frontier").data["relative_to"] == "recommended"


DEMANDING = ((1.0, 99.0), (20.0, 99.0))  # no recommendation is worth so much


def test_what_is_not_sure_enough_is_declined_with_what_would_be(bench):
    declined = recommend(make_context(bench.snapshot()), with_card(floors=DEMANDING))
    assert isinstance(declined, Declined)
    assert declined.code is DeclineCode.LOW_CONFIDENCE
    assert "The 80 % interval of what the next 7 days need is too wide (main cpu " in declined.reason
    assert "A longer history, a shorter validity" in declined.reason


def test_a_container_that_ran_out_of_memory_is_raised_however_unsure(bench):
    kills = np.zeros(4032)
    kills[2000] = 1
    snapshot = bench.snapshot(bench.history(oom_kills=kills), container={"memory_limit_bytes": 2 * GIB})
    made = recommend(make_context(snapshot), with_card(floors=DEMANDING))
    assert not isinstance(made, Declined)


def test_a_service_that_a_lone_spike_made_unpredictable_is_declined_where_a_calm_one_is_sized(bench):
    spike = np.r_[np.ones(3992), np.full(40, 20.0)]
    history = {metric: values * spike for metric, values in bench.history().items()}
    no_limits = {"cpu_limit_cores": None, "memory_limit_bytes": None}
    asked = [bench.snapshot(metrics, container=no_limits) for metrics in (history, bench.history())]
    spiky, calm = (bench.ask(snapshot.slice(11 * 288, 14 * 288)) for snapshot in asked)
    assert isinstance(spiky, Declined)
    assert not isinstance(calm, Declined)


def test_a_cost_of_shortage_that_is_configured_takes_the_place_of_the_class_s(bench):
    cheap, dear = (
        dataclasses.replace(
            make_context(bench.snapshot()), under_provisioning_penalties={ServiceClass.STANDARD: cost}
        )
        for cost in (2.0, 15.0)
    )
    requests = [bench.strategy.propose(context).target.containers[0] for context in (cheap, dear)]
    assert requests[0].memory_request_bytes < requests[1].memory_request_bytes


def test_a_higher_fleet_accuracy_gives_larger_and_surer_sizes(bench):
    context = make_context(bench.snapshot())
    asked = [dataclasses.replace(context, settings={"fleet_accuracy": share}) for share in (0.88, 0.92, 0.96)]
    made = [bench.strategy.propose(one) for one in asked]
    requests = [proposal.target.containers[0].memory_request_bytes for proposal in made]
    assert requests == sorted(set(requests))
    assert [proposal.prior.mean for proposal in made] == sorted(proposal.prior.mean for proposal in made)
    assert made[1] == bench.strategy.propose(context)  # the default


def test_a_container_is_sized_the_same_whatever_runs_beside_it(bench):
    state = WorkloadState(containers=tuple(Container(name=name) for name in "abcd"))
    alone = make_snapshot({"a": bench.history()}, state=WorkloadState(containers=state.containers[:1]))
    pod = make_snapshot({name: bench.history() for name in "abcd"}, state=state)
    one, many = bench.ask(alone), bench.ask(pod)
    assert many.target.containers[0] == one.target.containers[0]
    assert one.prior.mean > many.prior.mean  # the pod is accurate only if all of its containers are


def test_a_model_that_was_trained_on_the_service_at_the_time_says_so(bench):
    snapshot = bench.snapshot()
    until = (snapshot.grid.end - timedelta(days=7)).isoformat()
    long_ago = (snapshot.grid.start - timedelta(days=1)).isoformat()
    name = hashed(snapshot.workload.service_name)
    said = [
        [
            r.code
            for r in recommend(make_context(snapshot), with_card(**card)).reasons
            if r.code == "in_sample"
        ]
        for card in (
            {"trained_until": until, "seen": (name,)},
            {"trained_until": long_ago, "seen": (name,)},
            {"trained_until": until, "seen": (hashed("another"),)},
        )
    ]
    assert said == [["in_sample"], [], []]


def test_a_model_in_the_context_is_used_in_place_of_the_shipped_one(bench):
    given = with_card(name="ours", version="7").dumps()
    context = dataclasses.replace(make_context(bench.snapshot()), models={"sizing": given})
    assert "sizing model ours 7" in ResourceStrategy().propose(context).prior.source


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_a_request_at_a_limit_that_was_never_passed_is_as_sure_as_the_size_it_was_lowered_from(
    bench, resource
):
    history = bench.history()
    top = {"cpu": history["cpu_cores"].max() * 1.001, "memory": history["memory_bytes"].max() * 1.001}
    limit = (
        {"cpu_limit_cores": top["cpu"]} if resource == "cpu" else {"memory_limit_bytes": int(top[resource])}
    )
    assert bench.ask(bench.snapshot(history, container=limit)).prior.mean > 0.85


@pytest.mark.parametrize(("days", "less"), [(3, True), (7, True), (14, False)])
def test_of_a_short_history_less_is_stated(bench, days, less):
    shipped = shipped_model()
    asked = make_context(bench.snapshot().slice((14 - days) * 288, 14 * 288))
    said = []
    for lack in (0.0, 0.5):
        changed = msgspec.structs.replace(shipped.calibration, lack=lack)
        card = msgspec.structs.replace(shipped.card, floors=((1.0, -99.0), (20.0, -99.0)))
        said.append(recommend(asked, dataclasses.replace(shipped, card=card, calibration=changed)).prior.mean)
    assert (said[1] < said[0]) is less


def test_the_distribution_of_the_need_is_kept_in_rising_quantiles(bench):
    need = reason(bench.ask(), "need")
    levels, cpu, memory = (need.data[name] for name in ("levels", "cpu", "memory"))
    assert need.data["container"] == "main"
    assert (levels[0], levels[10], levels[-1], len(levels)) == (0.01, 0.5, 0.99, 21)
    assert len(cpu) == len(memory) == len(levels)
    assert cpu == sorted(cpu)
    assert memory == sorted(memory)
    stated = [float(text) / 1000 for text in re.findall(r"(\d+)m\b", need.text)]
    assert stated == pytest.approx([cpu[levels.index(level)] for level in (0.1, 0.9)], abs=0.0011)
    assert need.text.endswith(" MiB of memory (80 % interval).")
