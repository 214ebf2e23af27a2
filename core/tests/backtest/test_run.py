from datetime import timedelta

import pytest

from perfopt.backtest import backtest_registry, make_plan, open_engine, summarise
from perfopt.backtest.report import report
from perfopt.backtest.run import Walk
from perfopt.backtest.walk import walk_engine
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.errors import InvalidInputError
from perfopt.testing import daily_usage, make_snapshot

CONFIG = Config(engine=EngineConfig(processes=1, disabled_plugins=("resource",)))
GIB = 2**30
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


def walked(*plugins):
    cpu = daily_usage(14)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}})
    plan = make_plan(snapshot.grid.end, history=timedelta(days=7), validity=timedelta(days=3), cuts="2")
    with open_engine(backtest_registry(CONFIG, plugins), CONFIG) as engine:
        return snapshot, plan, walk_engine(snapshot, plan, engine, DEFAULT_PRICE_BOOK)


def test_one_strategy_is_perfopt_and_several_go_by_their_names():
    assert {trial.policy for trial in walked("peak")[2]} == {"perfopt"}
    both = walked("peak", "double")[2]
    assert [trial.policy for trial in both] == ["perfopt:double/double", "perfopt:peak/peak"] * 2
    peak, double = (next(t.cpu.recommended for t in both if name in t.policy) for name in ("peak", "double"))
    assert double == pytest.approx(peak * 2 / 1.1, abs=0.001)


def test_a_strategy_that_fails_is_tried_at_every_cut_and_counted_apart():
    snapshot, plan, trials = walked("broken", "peak")
    broken, peak = summarise(trials)
    assert broken.declined == {"strategy_failed": 2}
    assert (broken.made, peak.made) == (0, 2)
    result = report("here", plan, [Walk(snapshot.workload, tuple(trials))])
    assert any("RuntimeError: no luck" in note for note in result.notes)
    assert result.misses == ()


def test_a_plugin_that_makes_nothing_a_replay_can_score_is_refused():
    with pytest.raises(InvalidInputError, match="latency makes no RESOURCE_OPTIMIZATION"):
        backtest_registry(CONFIG, ("latency",))
