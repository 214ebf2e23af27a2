"""PUBLIC, for plugin authors: the contract suite of strategies, and snapshots to run one on.

In a plugin's own tests:

    from perfopt.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        @pytest.fixture
        def strategy(self):
            return MyStrategy()
"""

from perfopt.testing.contract import (
    CHECKS,
    CheckResult,
    StrategyContract,
    Violation,
    check_results,
    check_strategy,
)
from perfopt.testing.imports import private_imports
from perfopt.testing.snapshots import cases, daily_usage, make_context, make_snapshot

__all__ = [
    "CHECKS",
    "CheckResult",
    "StrategyContract",
    "Violation",
    "cases",
    "check_results",
    "check_strategy",
    "daily_usage",
    "make_context",
    "make_snapshot",
    "private_imports",
]
