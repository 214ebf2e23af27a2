import pytest

from perfopt.plugin import OptimizationType
from perfopt.testing import StrategyContract
from perfopt_latency import plugin
from perfopt_latency.strategy import LatencyStrategy


class TestLatencyStrategyKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return LatencyStrategy()


def test_the_entry_point_registers_one_latency_strategy():
    (strategy,) = plugin.perfopt_strategies()
    assert strategy.optimization_type is OptimizationType.LATENCY_OPTIMIZATION
