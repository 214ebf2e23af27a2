import pytest

from perfopt.plugin import OptimizationType
from perfopt.testing import StrategyContract
from perfopt_cost import plugin
from perfopt_cost.strategy import CostStrategy


class TestCostStrategyKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return CostStrategy()


def test_the_entry_point_registers_one_cost_strategy():
    (strategy,) = plugin.perfopt_strategies()
    assert strategy.optimization_type is OptimizationType.COST_OPTIMIZATION


def test_the_prior_is_measured_and_says_by_what():
    prior = CostStrategy().prior
    assert 0.5 < prior.mean < 1
    assert "cost_accuracy.py" in prior.source
    assert "tuning half" in prior.source
