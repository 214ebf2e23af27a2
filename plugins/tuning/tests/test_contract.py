import pytest

from perfopt.plugin import OptimizationType
from perfopt.testing import StrategyContract
from perfopt_tuning import plugin
from perfopt_tuning.strategy import KnobTuning


class TestKnobTuningKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return KnobTuning()


def test_the_entry_point_registers_one_tuning_strategy():
    (strategy,) = plugin.perfopt_strategies()
    assert strategy.optimization_type is OptimizationType.PERFORMANCE_TUNING
