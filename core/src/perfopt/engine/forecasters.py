"""Checks that what a plugin calls a forecaster is one."""

import pickle
import re
from collections.abc import Iterable
from typing import Any

from perfopt.plugin.forecasting import CostClass, Forecaster

_NAME = re.compile(r"[a-z0-9_-]+")
_ATTRIBUTES = ("name", "cost", "forecast")


class ForecasterError(Exception):
    """A plugin brought something that is no forecaster; the message is one sentence for its author."""


def check_forecasters(brought: Iterable[object]) -> tuple[Forecaster, ...]:
    """Returns the forecasters of one plugin, sorted by name.

    Raises:
        ForecasterError: one of them breaks the protocol, or two have the same name.
    """
    checked: dict[str, Forecaster] = {}
    for forecaster in brought:
        problem = forecaster_problem(forecaster)
        if problem is not None:
            raise ForecasterError(problem)
        assert isinstance(forecaster, Forecaster)
        if forecaster.name in checked:
            raise ForecasterError(f"It brings two forecasters named {forecaster.name!r}.")
        checked[forecaster.name] = forecaster
    return tuple(checked[name] for name in sorted(checked))


def forecaster_problem(forecaster: Any) -> str | None:
    """Returns one sentence on how an object breaks the Forecaster protocol, or None."""
    label = f"The forecaster {getattr(forecaster, 'name', type(forecaster).__name__)!r}"
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(forecaster, attribute)]
    if missing:
        return f"{label} lacks {', '.join(missing)}."
    if not isinstance(forecaster.name, str) or not _NAME.fullmatch(forecaster.name):
        return f"{label} has a name that is not of the form [a-z0-9_-]+."
    if not isinstance(forecaster.cost, CostClass):
        return f"{label} has a cost that is not a CostClass."
    try:
        pickle.loads(pickle.dumps(forecaster))  # noqa: S301  bytes of this process
    except Exception as error:
        return f"{label} can't be pickled: {error}"
    return None
