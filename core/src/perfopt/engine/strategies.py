"""Checks that what a plugin calls a strategy is one."""

from collections.abc import Iterable
from typing import Any

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import QUANTITY_OF_NAME
from perfopt.engine.brought import ContributionCheck, pickle_problem
from perfopt.metrics.catalogue import METRICS
from perfopt.plugin.forecasting import ForecastSpec
from perfopt.plugin.strategy import Prior, Strategy


def check_strategies(brought: Iterable[object]) -> tuple[Strategy, ...]:
    """Returns the strategies of one plugin, sorted by name.

    Raises:
        ContributionError: one of them breaks the protocol, or two have the same name.
    """
    return _CHECK.checked(brought)


def strategy_problem(strategy: object) -> str | None:
    """Returns one sentence on how an object breaks the Strategy protocol, or None."""
    return _CHECK.problem(strategy)


def _own_problem(strategy: Any, label: str) -> str | None:
    if not isinstance(strategy.optimization_type, OptimizationType):
        return f"{label} has an optimization_type that is not an OptimizationType."
    if not isinstance(strategy.prior, Prior) or not strategy.prior.possible:
        return f"{label} needs a Prior with a mean in [0, 1] and a positive strength."
    checks = (_metrics_problem, _holds_problem, pickle_problem)
    return next((problem for check in checks if (problem := check(strategy, label))), None)


def _holds_problem(strategy: Any, label: str) -> str | None:
    holds = getattr(strategy, "holds", ())
    if isinstance(holds, str) or not all(name in QUANTITY_OF_NAME for name in holds):
        return f"{label} has holds that are not a sequence of {', '.join(QUANTITY_OF_NAME)}."
    return None


def _metrics_problem(strategy: Strategy, label: str) -> str | None:
    for attribute in ("metrics", "forecasts"):
        given = getattr(strategy, attribute)
        names = given if isinstance(given, str) else [_metric(one) for one in given]
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            return f"{label} has {attribute} that are not a sequence of names."
        unknown = sorted(set(names) - set(METRICS))
        if unknown:
            return f"{label} names {attribute} that the metric catalogue does not have: {', '.join(unknown)}."
    return None


def _metric(forecast: Any) -> Any:
    return forecast.metric if isinstance(forecast, ForecastSpec) else forecast


_CHECK = ContributionCheck[Strategy](
    "strategy",
    "strategies",
    "name",
    ("name", "optimization_type", "metrics", "forecasts", "prior", "propose"),
    _own_problem,
)
