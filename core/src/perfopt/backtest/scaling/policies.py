"""The policies of horizontal scaling that a backtest compares."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from perfopt.autoscaling import SHORTAGE_PRICES, Replicas, World, baselines
from perfopt.config.documents import suggestion
from perfopt.errors import NotFoundError

OURS = "perfopt"
TARGETS = (0.4, 0.5, 0.6, 0.7)
# What our policy is tried at, to compare it with each baseline at that baseline's cost.
PRICES = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
LOOP_TARGETS = (0.5, 0.7)

Policy = Callable[[World], Replicas]
BASELINES: Mapping[str, Policy] = {
    **{f"hpa-{target:.0%}".rstrip("%"): partial(baselines.hpa, target=target) for target in TARGETS},
    "hpa-70+yesterday": partial(baselines.hpa_with_yesterday, target=0.7),
    "hpa-50+yesterday": partial(baselines.hpa_with_yesterday, target=0.5),
    "seasonal-naive-50": partial(baselines.seasonal_naive, target=0.5),
    "phpa-linear-50": partial(baselines.phpa_linear, target=0.5),
    "phpa-holt-winters-50": partial(baselines.phpa_holt_winters, target=0.5),
}
CLASSES = {f"{OURS}-{name}": price for name, price in SHORTAGE_PRICES.items()}


def choose_scaling_policies(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the policies named, all where none is; `perfopt` is all three of ours.

    Raises:
        NotFoundError: there is no such policy; lists them.
    """
    known = (*BASELINES, *CLASSES)
    found: dict[str, None] = {}
    for name in names or known:
        chosen = tuple(CLASSES) if name == OURS else (name,)
        for one in chosen:
            if one not in known:
                raise NotFoundError(
                    f"There is no scaling policy {one!r}.",
                    field="policy",
                    remedy=suggestion(one, (OURS, *known)),
                    candidates=(OURS, *known),
                )
            found[one] = None
    return tuple(found)
