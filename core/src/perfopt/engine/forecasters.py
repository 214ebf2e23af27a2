"""Checks that what a plugin calls a forecaster is one."""

from collections.abc import Iterable
from typing import Any

from perfopt.engine.brought import ContributionCheck, pickle_problem
from perfopt.plugin.forecasting import CostClass, Forecaster


def check_forecasters(brought: Iterable[object]) -> tuple[Forecaster, ...]:
    """Returns the forecasters of one plugin, sorted by name.

    Raises:
        ContributionError: one of them breaks the protocol, or two have the same name.
    """
    return _CHECK.checked(brought)


def forecaster_problem(forecaster: object) -> str | None:
    """Returns one sentence on how an object breaks the Forecaster protocol, or None."""
    return _CHECK.problem(forecaster)


def _own_problem(forecaster: Any, label: str) -> str | None:
    if not isinstance(forecaster.cost, CostClass):
        return f"{label} has a cost that is not a CostClass."
    return pickle_problem(forecaster, label)


_CHECK = ContributionCheck[Forecaster](
    "forecaster", "forecasters", "name", ("name", "cost", "forecast"), _own_problem
)
