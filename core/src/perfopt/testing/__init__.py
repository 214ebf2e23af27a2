"""PUBLIC, for plugin authors: the contract that every strategy keeps, and snapshots to try one on.

In a plugin's own tests:

    from perfopt.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        @pytest.fixture
        def strategy(self):
            return MyStrategy()
"""

from perfopt.testing.contract import CHECKS, StrategyContract, Violation, check_strategy
from perfopt.testing.imports import private_imports
from perfopt.testing.snapshots import cases, daily_usage, make_context, make_snapshot

__all__ = [
    "CHECKS",
    "StrategyContract",
    "Violation",
    "cases",
    "check_strategy",
    "daily_usage",
    "make_context",
    "make_snapshot",
    "private_imports",
]
