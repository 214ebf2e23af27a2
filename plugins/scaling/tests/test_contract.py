import pytest

from perfopt.plugin import OptimizationType
from perfopt.testing import StrategyContract
from perfopt_scaling import plugin
from perfopt_scaling.strategy import ScalingStrategy


class TestScalingStrategyKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return ScalingStrategy()


def test_the_entry_point_registers_one_scaling_strategy():
    (strategy,) = plugin.perfopt_strategies()
    assert strategy.optimization_type is OptimizationType.SCALING_OPTIMIZATION
