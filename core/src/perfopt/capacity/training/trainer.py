"""Training of the latency surrogate, as `perfopt train --what latency` runs it."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from perfopt.metrics.snapshot import WorkloadSnapshot
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
        from perfopt.capacity.training.simulation import simulate

        request.progress(f"simulating {request.options.services} services", 0, None)
        given, wanted = fit.examples(*simulate(request.options.services))
        request.progress("fitting networks", 0, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, that a round more would lower the loss
            fitted = fit.fit(given, wanted)
        buffer = io.BytesIO()
        np.savez(buffer, **fitted.arrays)  # type: ignore[arg-type]  # its own keywords are none of the names
        return TrainedModel(
            content=buffer.getvalue(),
            figures={"services": float(len(given)), **fitted.errors},
            measured="simulated services that were kept out, one in ten",
        )
