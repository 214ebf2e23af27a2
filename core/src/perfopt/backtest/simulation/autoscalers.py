"""The autoscalers that a simulation compares."""

from collections.abc import Sequence

from perfopt.autoscaling import VIOLATION_PENALTIES
from perfopt.backtest.controllers import BASELINE_CONTROLLERS
from perfopt.config.paths import suggestion
from perfopt.errors import NotFoundError

OURS = "perfopt"
# What our policy is tried at, to compare it with each baseline at that baseline's cost.
PRICES = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
LOOP_TARGETS = (0.5, 0.7)
CLASSES = {f"{OURS}-{name}": price for name, price in VIOLATION_PENALTIES.items()}


def choose_autoscalers(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the autoscalers named, all where none is; `perfopt` is all three of ours.

    Raises:
        NotFoundError: there is none of that name; lists them.
    """
    known = (*BASELINE_CONTROLLERS, *CLASSES)
    autoscalers: dict[str, None] = {}
    for name in names or known:
        chosen = tuple(CLASSES) if name == OURS else (name,)
        for one in chosen:
            if one not in known:
                raise NotFoundError(
                    f"There is no autoscaler {one!r} to simulate.",
                    field="policy",
                    remedy=suggestion(one, (OURS, *known)),
                    candidates=(OURS, *known),
                )
            autoscalers[one] = None
    return tuple(autoscalers)
