"""A small strategy that keeps the contract: an example for authors, and what the bad ones are made from."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from perfopt.plugin import (
    SEPARATE_CONTAINERS,
    AnalysisContext,
    Container,
    DeclineCode,
    Declined,
    OptimizationType,
    Prior,
    Proposal,
    Strategy,
    WorkloadState,
    decline,
    hookimpl,
)


class PeakStrategy:
    """Requests a tenth more than the highest use ever seen. Wasteful and simple."""

    name = "peak"
    optimization_type = OptimizationType.RESOURCE_OPTIMIZATION
    metrics: Sequence[str] = ("cpu_cores", "memory_bytes")
    forecasts: Sequence[str] = ()
    prior = Prior()
    margin = 1.1

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Proposes the peak of each container; declines without a sample."""
        targets = [self._target(context, c) for c in context.snapshot.workload.state.containers]
        proposed = [target for target in targets if target is not None]
        if not proposed or len(proposed) < len(targets):
            return decline(self.optimization_type, DeclineCode.NO_DATA, "A container has no sample of use.")
        return self.proposal(context, tuple(proposed))

    def proposal(self, context: AnalysisContext, containers: tuple[Container, ...]) -> Proposal:
        """Returns the current state with other containers, as a proposal."""
        current = context.snapshot.workload.state
        target: WorkloadState = msgspec.structs.replace(current, containers=containers)
        return Proposal(
            optimization_type=self.optimization_type,
            target=target,
            description=f"Request a tenth more than the peak of {context.snapshot.workload.service_name}.",
            no_change_needed=target == current,
            merge=SEPARATE_CONTAINERS,
        )

    def _target(self, context: AnalysisContext, container: Container) -> Container | None:
        cpu = self._peak(context, container.name, "cpu_cores")
        memory = self._peak(context, container.name, "memory_bytes")
        if cpu is None:
            return None
        request = container.memory_request_bytes if memory is None else math.ceil(memory)
        return msgspec.structs.replace(
            container,
            cpu_request_cores=cpu,
            memory_request_bytes=request,
            cpu_limit_cores=None,
            memory_limit_bytes=None if request is None else math.ceil(request * self.margin),
        )

    def _peak(self, context: AnalysisContext, container: str, metric: str) -> float | None:
        series = context.snapshot.series(container, metric)
        if series is None or not np.isfinite(series.values).any():
            return None
        return float(np.nanmax(series.values)) * self.margin


class ExamplePlugin:
    """A plugin as an object: an entry point may name one.

    Args:
        strategies: what it brings.
    """

    def __init__(self, *strategies: Strategy) -> None:
        self._strategies = strategies

    @hookimpl
    def perfopt_strategies(self) -> list[Strategy]:
        """Returns the strategies."""
        return list(self._strategies)


PEAK = ExamplePlugin(PeakStrategy())
