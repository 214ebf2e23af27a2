from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from first_party import FIRST_PARTY

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import Basis, DeclineCode, OptimizationType
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import Coverage
from perfopt.engine import Engine, probe_plugins
from perfopt.engine.improvement import expected_improvement
from perfopt.plugin import Claim, Container, WorkloadState
from perfopt.testing import daily_usage, make_snapshot

WEEK = timedelta(days=7)
RESOURCE = (OptimizationType.RESOURCE_OPTIMIZATION,)
GOOD = "perfopt.testing.examples:PEAK"
GIB = 2**30


@pytest.fixture
def engine(install, start):
    install("good", {"good": GOOD})
    return start(deadline_seconds=20)


def only(result):
    (made,) = result.recommendations
    return made


def reasons(made):
    return [reason.code for reason in made.reasons]


def test_a_recommendation_is_complete(engine):
    snapshot = make_snapshot()
    recommendation = only(engine.analyze(snapshot, RESOURCE, WEEK))
    assert recommendation.recommendation_id == "opt_20260302_001"
    assert recommendation.made_at == snapshot.grid.end
    assert recommendation.valid_until == snapshot.grid.end + WEEK
    assert recommendation.current_state["cpu_request"] == "1"
    assert recommendation.recommended_state["replicas"] == 2
    assert recommendation.coverage.keys() == {"main/cpu_cores", "main/memory_bytes"}
    claim = recommendation.expected_improvement
    current, recommended = recommendation.monthly_cost_current, recommendation.monthly_cost_recommended
    assert claim.cost_reduction_percent == pytest.approx(100 * (1 - recommended / current), abs=0.01)
    assert claim.confidence == pytest.approx((0.5 * 2 + 11 / 7) / (2 + 11 / 7), abs=1e-3)
    assert claim.latency_reduction_ms == 0
    assert "no_latency_data" in reasons(recommendation)


def test_the_result_survives_json(engine):
    result = engine.analyze(make_snapshot(), RESOURCE, WEEK, include_predictions=True)
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result


def test_types_without_a_plugin_are_declined_with_what_to_do(engine):
    result = engine.analyze(make_snapshot(), tuple(OptimizationType), WEEK)
    assert only(result).optimization_type is OptimizationType.RESOURCE_OPTIMIZATION
    assert [d.optimization_type for d in result.declined] == [
        t for t in OptimizationType if t not in RESOURCE
    ]
    assert {d.code for d in result.declined} == {DeclineCode.NO_STRATEGY}
    assert "Install one" in result.declined[0].reason
    assert "perfopt plugin list" in result.declined[0].reason
    assert "resource (disabled)" in result.declined[0].reason


def test_predictions_are_there_when_asked_for_only(engine):
    snapshot = make_snapshot()
    assert only(engine.analyze(snapshot, RESOURCE, WEEK)).predictions is None
    made = only(engine.analyze(snapshot, RESOURCE, WEEK, include_predictions=True))
    assert made.predictions.keys() == {"main/cpu_cores", "main/memory_bytes"}
    cpu = made.predictions["main/cpu_cores"]
    assert (cpu.unit, cpu.start, cpu.step_seconds) == ("cores", snapshot.grid.end, 300)
    assert {len(values) for values in cpu.quantiles.values()} == {7 * 288}
    noon = cpu.quantiles["0.5"][144]
    assert noon == pytest.approx(0.6, rel=0.1)


def test_a_decline_of_a_strategy_is_handed_on(engine):
    nothing = make_snapshot({"main": {"cpu_cores": np.full(4032, np.nan)}})
    result = engine.analyze(nothing, RESOURCE, WEEK)
    assert [d.code for d in result.declined] == [DeclineCode.NO_DATA]


def test_unknown_requests_give_no_saving_and_say_so(engine):
    usage = daily_usage()
    snapshot = make_snapshot(
        {"main": {"cpu_cores": usage, "memory_bytes": usage * GIB}},
        state=WorkloadState(containers=(Container(name="main"),), basis=Basis.UNKNOWN),
    )
    recommendation = only(engine.analyze(snapshot, RESOURCE, WEEK))
    assert recommendation.monthly_cost_current is None
    assert recommendation.expected_improvement.cost_reduction_percent is None
    assert "cost_unknown" in reasons(recommendation)
    assert "cpu_request" not in recommendation.current_state


def test_requests_of_zero_claim_no_percentage(engine):
    usage = daily_usage()
    snapshot = make_snapshot(
        {"main": {"cpu_cores": usage, "memory_bytes": usage * GIB}},
        state=WorkloadState(
            containers=(Container(name="main", cpu_request_cores=0.0, memory_request_bytes=0),), replicas=1
        ),
    )
    recommendation = only(engine.analyze(snapshot, RESOURCE, WEEK))
    assert (
        recommendation.monthly_cost_current,
        recommendation.expected_improvement.cost_reduction_percent,
    ) == (0.0, None)
    text = next(reason.text for reason in recommendation.reasons if reason.code == "cost_unknown")
    assert text == "No cost reduction is stated: nothing is requested now."


def test_a_baseline_assumed_from_limits_says_so(engine):
    snapshot = make_snapshot()
    state = msgspec.structs.replace(snapshot.workload.state, basis=Basis.ASSUMED_FROM_LIMIT)
    assumed = replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, state=state))
    made = only(engine.analyze(assumed, RESOURCE, WEEK))
    assert made.current_state["basis"] == "assumed_from_limit"
    assert "baseline_assumed_from_limit" in reasons(made)


def test_warnings_of_the_source_and_low_coverage_are_shown(engine):
    low = Coverage(expected=100, present=40, fraction=0.4)
    snapshot = replace(
        make_snapshot(), warnings=(("short_history", "A week is there."),), coverage={"main/cpu_cores": low}
    )
    warnings = engine.analyze(snapshot, RESOURCE, WEEK).warnings
    assert [warning.code for warning in warnings] == ["short_history", "low_coverage"]
    assert "main/cpu_cores 40%" in warnings[1].message


def test_a_workload_is_costed_by_the_book_it_names(install, engine):
    dear = PriceBook(name="dear", currency="CHF", cpu_core_hour=1.0, memory_gib_hour=1.0)
    base = Config()
    config = Config(
        price_books={**base.price_books, "dear": dear}, engine=EngineConfig(processes=1, deadline_seconds=20)
    )
    snapshot = make_snapshot()

    def named(book):
        return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, price_book=book))

    with Engine(probe_plugins(disabled=FIRST_PARTY), config) as other:
        made = only(other.analyze(named("dear"), RESOURCE, WEEK))
        assert (made.price_book, made.currency) == ("dear", "CHF")
        assert made.monthly_cost_current == pytest.approx(2 * 2 * 730)
        result = other.analyze(named("missing"), RESOURCE, WEEK)
        measured = replace(snapshot, price_book=msgspec.structs.replace(dear, name="opencost"))
        assert only(other.analyze(measured, RESOURCE, WEEK)).price_book == "opencost"
        both = replace(named("dear"), price_book=measured.price_book)
        assert only(other.analyze(both, RESOURCE, WEEK)).price_book == "dear"
    configured = msgspec.structs.replace(config, price_book="dear")
    with Engine(probe_plugins(disabled=FIRST_PARTY), configured) as other:
        assert only(other.analyze(measured, RESOURCE, WEEK)).price_book == "dear"
    assert only(result).currency == "USD"
    assert [warning.code for warning in result.warnings] == ["unknown_price_book"]


def test_several_strategies_are_ranked_by_expected_saving(install, start):
    source = """
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
class Wide(PeakStrategy):
    name = "wide"
    margin = 1.5
PLUGIN = ExamplePlugin(Wide(), PeakStrategy())
"""
    install("two", {"aa": "two_strategies:PLUGIN"}, files={"two_strategies.py": source})
    made = start(deadline_seconds=20).analyze(make_snapshot(), RESOURCE, WEEK).recommendations
    assert [one.plugin for one in made] == ["aa/peak", "aa/wide"]
    assert [one.recommendation_id[-3:] for one in made] == ["001", "002"]


def test_an_engine_reads_what_its_strategies_name(engine):
    assert {"cpu_cores", "memory_bytes", "cpu_request_cores"} <= engine.metrics(RESOURCE)


def test_a_latency_claim_is_carried_over():
    claim = Claim(latency_ms=80, latency_now_ms=100, performance_gain_percent=20)
    improvement, why = expected_improvement(claim, make_snapshot(), 10.0, 12.0, 0.7)
    assert improvement.latency_reduction_ms == 20
    assert improvement.performance_gain_percent == 20
    assert improvement.cost_reduction_percent == -20
    assert why == ()


def test_latency_data_without_a_claim_is_told_from_no_data():
    snapshot = make_snapshot(service={"latency_p99_ms": daily_usage()})
    _, why = expected_improvement(Claim(), snapshot, 10.0, 10.0, 0.7)
    assert [reason.code for reason in why] == ["no_latency_claim"]


HOLDING = """
from perfopt.plugin import DeclineCode, OptimizationType, decline
from perfopt.testing.examples import ExamplePlugin, PeakStrategy

COST = OptimizationType.COST_OPTIMIZATION


class Cheap(PeakStrategy):
    name, optimization_type, metrics = "cheap", COST, ("cpu_cores",)


class Unsure(PeakStrategy):
    name, holds, metrics = "unsure", ("cpu_request",), ("cpu_cores", "oom_kills")

    def propose(self, context):
        reason = "There are 20 h of history."
        return decline(self.optimization_type, DeclineCode.SHORT_HISTORY, reason, holds=self.holds)


class Certain(PeakStrategy):
    name, holds = "certain", ("cpu_request",)


class OfLimits(Unsure):
    holds = ("cpu_limit",)


UNSURE = ExamplePlugin(Cheap(), Unsure())
CERTAIN = ExamplePlugin(Cheap(), Certain())
BOTH = ExamplePlugin(Cheap(), Certain(), Unsure())
OF_LIMITS = ExamplePlugin(Cheap(), OfLimits())
"""
COST = (OptimizationType.COST_OPTIMIZATION,)


def cost_of(install, start, plugin):
    install("holding", {"holding": f"holding:{plugin}"}, files={"holding.py": HOLDING})
    engine = start(deadline_seconds=20)
    return engine, engine.analyze(make_snapshot(), COST, WEEK)


def test_an_abstention_binds_a_type_that_is_asked_alone(install, start):
    engine, result = cost_of(install, start, "UNSURE")
    assert result.recommendations == ()
    (declined,) = result.declined
    assert declined.code is DeclineCode.LOW_CONFIDENCE
    assert "RESOURCE_OPTIMIZATION abstains from that: There are 20 h of history." in declined.reason
    assert engine.analyze(make_snapshot(), COST, WEEK, only="holding/cheap").recommendations == ()
    assert "oom_kills" in engine.metrics(COST)
    assert "oom_kills" not in engine.metrics(())


@pytest.mark.parametrize("plugin", ["CERTAIN", "BOTH", "OF_LIMITS"])
def test_a_type_asked_alone_is_free_where_its_sizes_are_not_held(install, start, plugin):
    _, result = cost_of(install, start, plugin)
    assert only(result).plugin == "holding/cheap"
    assert result.declined == ()
