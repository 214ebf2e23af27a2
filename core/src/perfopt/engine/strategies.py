"""Checks that what a plugin calls a strategy is one."""

import pickle
import re
from collections.abc import Iterable
from typing import Any

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import QUANTITY_OF_NAME
from perfopt.metrics.catalogue import METRICS
from perfopt.plugin.forecasting import ForecastSpec
from perfopt.plugin.strategy import Prior, Strategy

_NAME = re.compile(r"[a-z0-9_-]+")
_ATTRIBUTES = ("name", "optimization_type", "metrics", "forecasts", "prior", "propose")


class StrategyError(Exception):
    """A plugin brought something that is no strategy; the message is one sentence for its author."""


def check_strategies(brought: Iterable[object]) -> tuple[Strategy, ...]:
    """Returns the strategies of one plugin, sorted by name.

    Raises:
        StrategyError: one of them breaks the protocol, or two have the same name.
    """
    checked: dict[str, Strategy] = {}
    for strategy in brought:
        problem = strategy_problem(strategy)
        if problem is not None:
            raise StrategyError(problem)
        assert isinstance(strategy, Strategy)
        if strategy.name in checked:
            raise StrategyError(f"It brings two strategies named {strategy.name!r}.")
        checked[strategy.name] = strategy
    return tuple(checked[name] for name in sorted(checked))


def strategy_problem(strategy: Any) -> str | None:
    """Returns one sentence on how an object breaks the Strategy protocol, or None."""
    label = f"The strategy {getattr(strategy, 'name', type(strategy).__name__)!r}"
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(strategy, attribute)]
    if missing:
        return f"{label} lacks {', '.join(missing)}."
    if not isinstance(strategy.name, str) or not _NAME.fullmatch(strategy.name):
        return f"{label} has a name that is not of the form [a-z0-9_-]+."
    if not isinstance(strategy.optimization_type, OptimizationType):
        return f"{label} has an optimization_type that is not an OptimizationType."
    if not isinstance(strategy.prior, Prior) or not strategy.prior.possible:
        return f"{label} needs a Prior with a mean in [0, 1] and a positive strength."
    checks = (_metrics_problem, _holds_problem, _pickle_problem)
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


def _pickle_problem(strategy: Strategy, label: str) -> str | None:
    try:
        pickle.loads(pickle.dumps(strategy))  # noqa: S301  bytes of this process
    except Exception as error:
        return f"{label} can't be pickled: {error}"
    return None
