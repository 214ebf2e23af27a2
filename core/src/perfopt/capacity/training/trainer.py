"""Training of the latency surrogate, as `perfopt train --what latency` runs it."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec

from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.array_file import write_arrays
from perfopt.plugin.models import TrainedModel, TrainingRequest


class LatencyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of training the latency surrogate.

    Attributes:
        services: how many are simulated.
    """

    services: Annotated[int, msgspec.Meta(ge=1000, le=10_000_000)] = 320_000


@dataclass(frozen=True)
class LatencyTrainer:
    """Learns from simulated services: no measured one is in the surrogate."""

    metrics: frozenset[str] = frozenset()
    modules: Sequence[str] = ("sklearn",)
    options: type[LatencyOptions] = LatencyOptions

    def examples(self, snapshot: WorkloadSnapshot) -> list[Any]:
        """Returns nothing: services are simulated."""
        return []

    def train(self, examples: Sequence[Any], request: TrainingRequest) -> TrainedModel:
        """Simulates services and fits the networks.

        Raises:
            PerfoptError: there is no C compiler.
        """
        from perfopt.capacity.training import fit
        from perfopt.capacity.training.simulation import FIRST_SEED, simulate

        count, done = request.options.services, itertools.count(1)
        request.progress("simulating services", 0, count)
        simulated = simulate(
            count, lambda some: request.progress("simulating services", some, count), request.once
        )
        given, targets = fit.examples(*simulated)
        rounds = partial(request.progress, "fitting networks, rounds")
        rounds(0, fit.ROUNDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, that a round more would lower the loss
            fitted = fit.fit(
                given,
                targets,
                lambda: request.progress("fitting networks, rounds", next(done), fit.ROUNDS),
                request.once,
            )
        return TrainedModel(
            content=write_arrays(fitted.arrays, _card(request, len(given), FIRST_SEED, fitted.errors)),
            figures={"services": float(len(given)), **fitted.errors},
            measured="simulated services that were kept out, one in ten",
        )


def _card(request: TrainingRequest, services: int, seed: int, errors: Mapping[str, float]) -> dict[str, Any]:
    return {
        "name": request.name,
        "version": request.version,
        "data": ["simulated services (queue.c)", *request.data],
        "services": services,
        "first_seed": seed,
        "figures": {name: round(error, 4) for name, error in errors.items()},
        "command": request.command,
    }
