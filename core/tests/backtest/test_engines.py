from datetime import timedelta

import pytest

from perfopt.backtest import (
    ServiceBacktest,
    backtest_registry,
    engine_policies,
    make_schedule,
    open_engine,
    report,
    summarise,
)
from perfopt.backtest.evaluate import evaluate_policies
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.errors import InvalidInputError
from perfopt.testing import daily_usage, make_snapshot

CONFIG = Config(engine=EngineConfig(processes=1, disabled_plugins=("resource",)))
GIB = 2**30
SIZES = (OptimizationType.RESOURCE_OPTIMIZATION,)
PLUGIN = """
from perfopt.domain.enums import OptimizationType
from perfopt.plugin import hookimpl
from perfopt.testing.examples import PeakStrategy

class Double(PeakStrategy):
    name = "double"
    margin = 2.0

class Broken(PeakStrategy):
    name = "broken"
    def propose(self, context):
        raise RuntimeError("no luck")

class Latency(PeakStrategy):
    name = "latency"
    optimization_type = OptimizationType.LATENCY_OPTIMIZATION

class Plugin:
    def __init__(self, *strategies):
        self.strategies = strategies
    @hookimpl
    def perfopt_strategies(self):
        return [strategy() for strategy in self.strategies]

peak, double, broken, latency = (Plugin(s) for s in (PeakStrategy, Double, Broken, Latency))
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """Four plugins, installed the way pip leaves them."""
    info = tmp_path / "sizers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sizers\nVersion: 1.0\nRequires-Dist: perfopt\n"
    )
    points = [f"{name} = sizers_of_mine:{name}" for name in ("peak", "double", "broken", "latency")]
    (info / "entry_points.txt").write_text("\n".join(["[perfopt.plugins]", *points, ""]))
    (tmp_path / "sizers_of_mine.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)


def evaluated(*plugins, types=SIZES):
    cpu = daily_usage(14)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}})
    schedule = make_schedule(
        snapshot.grid.end, history=timedelta(days=7), validity=timedelta(days=3), origins="2"
    )
    with open_engine(backtest_registry(CONFIG, plugins, types), CONFIG) as engine:
        rows = evaluate_policies(snapshot, schedule, engine_policies(engine, types), DEFAULT_PRICE_BOOK)
    return ServiceBacktest(snapshot.workload, schedule, tuple(rows))


def test_each_strategy_is_a_policy_and_several_have_a_plan():
    assert {row.policy for row in evaluated("peak").rows} == {"peak/peak"}
    both = evaluated("peak", "double").rows
    assert [row.policy for row in both] == ["double/double", "peak/peak", "plan"] * 2
    of = {row.policy: row.cpu.recommended for row in both}
    assert of["double/double"] == pytest.approx(of["peak/peak"] * 2 / 1.1, abs=0.001)


def test_a_strategy_that_fails_is_tried_at_every_origin_and_counted_apart():
    result = evaluated("broken", "peak")
    broken, peak, _ = summarise(result.rows)
    assert broken.declined == {"strategy_failed": 2}
    assert (broken.made, peak.made) == (0, 2)
    found = report("here", "7d", [result])
    assert any("RuntimeError: no luck" in note for note in found.notes)
    assert found.misses == ()


def test_a_plugin_without_a_strategy_of_the_types_is_refused():
    with pytest.raises(InvalidInputError, match="latency has no strategy of RESOURCE_OPTIMIZATION"):
        backtest_registry(CONFIG, ("latency",), SIZES)
