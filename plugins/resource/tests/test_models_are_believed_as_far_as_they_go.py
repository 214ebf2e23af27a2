import dataclasses
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.learn.model import shipped_model
from perfopt.plugin import Container, DeclineCode, Declined, ServiceClass, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.learnt.strategy import LearntSizing
from perfopt_resource.strategy import ResourceStrategy

GIB = 2**30


@pytest.fixture
def bench(bench):
    bench.strategy = LearntSizing(shipped_model())
    return bench


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
    assert sure[0].mean > sure[1].mean
    assert "sizing 1 (sha256 " in sure[0].source


def test_a_dearer_shortage_buys_more_room_and_confidence(bench):
    asked = [bench.ask(of_class(bench.snapshot(), kind)) for kind in ServiceClass]
    by_class = dict(zip(ServiceClass, asked, strict=True))
    order = [by_class[kind] for kind in (ServiceClass.BATCH, ServiceClass.STANDARD, ServiceClass.CRITICAL)]
    cpu = [made.target.containers[0].cpu_request_cores for made in order]
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


def test_what_is_not_sure_enough_is_declined_with_what_would_be(bench):
    strategy = LearntSizing(with_card(confidence_floor=0.97))
    declined = strategy.propose(make_context(bench.snapshot()))
    assert isinstance(declined, Declined)
    assert declined.code is DeclineCode.LOW_CONFIDENCE
    assert "below the 0.97" in declined.reason
    assert "main cpu " in declined.reason
    assert "longer or steadier history" in declined.reason


def test_a_batch_service_takes_what_it_gets(bench):
    strategy = LearntSizing(with_card(confidence_floor=0.97))
    made = strategy.propose(make_context(of_class(bench.snapshot(), ServiceClass.BATCH)))
    assert not isinstance(made, Declined)


def test_a_container_that_ran_out_of_memory_is_raised_however_unsure(bench):
    kills = np.zeros(4032)
    kills[2000] = 1
    strategy = LearntSizing(with_card(confidence_floor=0.999))
    snapshot = bench.snapshot(bench.history(oom_kills=kills), container={"memory_limit_bytes": 2 * GIB})
    assert not isinstance(strategy.propose(make_context(snapshot)), Declined)


def test_a_pod_of_many_containers_is_sized_more_surely_than_each_alone(bench):
    state = WorkloadState(containers=tuple(Container(name=name) for name in "abcd"))
    alone = make_snapshot({"a": bench.history()}, state=WorkloadState(containers=state.containers[:1]))
    pod = make_snapshot({name: bench.history() for name in "abcd"}, state=state)
    one, many = bench.ask(alone), bench.ask(pod)
    assert one.prior.mean > many.prior.mean >= shipped_model().card.confidence_floor
    assert many.target.containers[0].memory_request_bytes > one.target.containers[0].memory_request_bytes


def test_a_model_that_saw_the_time_it_is_judged_on_says_so(bench):
    end = bench.snapshot().grid.end
    before, during, after = (
        LearntSizing(with_card(trained_until=(end + timedelta(days=d)).isoformat())) for d in (-30, -7, 7)
    )
    said = [
        [r.text for r in s.propose(make_context(bench.snapshot())).reasons if r.code == "in_sample"]
        for s in (before, during, after)
    ]
    assert said[0] == []
    assert "replays are" in said[1][0]
    assert "its replays and its confidence are" in said[2][0]


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
