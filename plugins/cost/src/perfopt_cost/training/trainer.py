"""Training of the cost bounds, as `perfopt train --what cost` runs it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from perfopt.plugin import InvalidInputError, TrainedModel, TrainingRequest, WorkloadSnapshot

MIN_WORKLOADS = 10


class CostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of training the cost bounds.

    Attributes:
        prior_mean: share of the strategy's recommendations that are accurate, as `perfopt backtest` measures
            it; the smaller of the shares of windows in which bounds of the class standard hold otherwise.
        prior_strength: weight of prior_mean, in validity windows.
        prior_source: by what it was measured.
    """

    prior_mean: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    prior_strength: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    prior_source: str = ""


@dataclass(frozen=True)
class CostTrainer:
    """Learns from the windows of a fleet how far above its history a need may be."""

    metrics: frozenset[str] = frozenset({"cpu_cores", "memory_bytes"})
    modules: Sequence[str] = ()
    options: type[CostOptions] = CostOptions

    def examples(self, snapshot: WorkloadSnapshot) -> list[WorkloadSnapshot]:
        """Returns the history itself: windows depend on the validity."""
        return [snapshot]

    def train(self, examples: Sequence[WorkloadSnapshot], request: TrainingRequest) -> TrainedModel:
        """Fits the bounds of both resources.

        Raises:
            InvalidInputError: too few workloads with weeks of history.
        """
        from perfopt_cost.training.fit import fit
        from perfopt_cost.training.windows import METRICS, windows

        by_metric = {name: windows(list(examples), name, request.validity) for name in METRICS}
        count = min(len(set(one.names)) for one in by_metric.values())
        if count < MIN_WORKLOADS:
            raise InvalidInputError(
                f"{count} services have enough history of cpu and memory, {MIN_WORKLOADS} are needed.",
                remedy="Add services, or history: 14 days and the validity.",
            )
        bounds = {name: fit(one, name) for name, one in by_metric.items()}
        prior = _prior(request.options, bounds)
        content = {"card": _card(request, count), "prior": prior, **bounds}
        figures = {
            f"{name} {kind} held": one[kind]["held"] for name, one in bounds.items() for kind in _CLASSES
        }
        windows_seen = {f"{name} windows": float(len(one.names)) for name, one in by_metric.items()}
        return TrainedModel(
            content=(json.dumps(content, indent=1) + "\n").encode(),
            figures={"services": float(count), **windows_seen, **figures, "prior": prior["mean"]},
            measured="services that bounds were not fitted on (5 folds by name)",
        )


_CLASSES = ("batch", "standard", "critical")


def _prior(options: CostOptions, bounds: dict[str, Any]) -> dict[str, Any]:
    shares = {name: one["standard"]["held"] for name, one in bounds.items()}
    if options.prior_mean is None:
        mean, source = (
            min(shares.values()),
            "bounds of one resource, out of fold; `perfopt backtest` tells more",
        )
    else:
        mean, source = options.prior_mean, options.prior_source or "measured elsewhere"
    return {"mean": mean, "strength": options.prior_strength, "source": source}


def _card(request: TrainingRequest, count: int) -> dict[str, Any]:
    until = request.trained_until
    return {
        "name": request.name,
        "version": request.version,
        "services": count,
        "data": list(request.data),
        "trained_until": None if until is None else until.isoformat().replace("+00:00", "Z"),
        "command": request.command,
    }
