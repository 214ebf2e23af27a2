"""PUBLIC, for plugin authors: the contract suites of strategies and forecasters, and builders for tests.

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
    ContractViolation,
    SettingsContract,
    StrategyContract,
    check_results,
    check_settings,
    check_strategy,
)
from perfopt.testing.forecasters import FORECASTER_CHECKS, check_forecaster, forecaster_results
from perfopt.testing.imports import private_imports
from perfopt.testing.recommendations import make_recommendation
from perfopt.testing.snapshots import cases, daily_usage, make_context, make_snapshot

__all__ = [
    "CHECKS",
    "FORECASTER_CHECKS",
    "CheckResult",
    "ContractViolation",
    "SettingsContract",
    "StrategyContract",
    "cases",
    "check_forecaster",
    "check_results",
    "check_settings",
    "check_strategy",
    "daily_usage",
    "forecaster_results",
    "make_context",
    "make_recommendation",
    "make_snapshot",
    "private_imports",
]

# Older names, read until the next minor version.
Violation = ContractViolation
