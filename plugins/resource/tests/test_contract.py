import pytest

from perfopt.plugin import OptimizationType
from perfopt.testing import StrategyContract
from perfopt_resource import plugin
from perfopt_resource.strategy import ResourceStrategy


class TestResourceStrategyKeepsTheContract(StrategyContract):
    @pytest.fixture
    def strategy(self):
        return ResourceStrategy()


def test_the_entry_point_registers_one_resource_strategy():
    (strategy,) = plugin.perfopt_strategies()
    assert strategy.optimization_type is OptimizationType.RESOURCE_OPTIMIZATION


def test_the_prior_is_measured_and_says_by_what():
    prior = ResourceStrategy().prior
    assert 0.5 < prior.mean < 1
    assert prior.strength > 0
    assert "perfopt train --what sizing" in prior.source
    assert "series never trained on" in prior.source
