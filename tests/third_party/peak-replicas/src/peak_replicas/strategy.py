"""As many replicas as the busiest step of the history needed at the CPU request of each."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from perfopt.plugin import (
    AnalysisContext,
    DeclineCode,
    Declined,
    OptimizationType,
    Prior,
    Proposal,
    decline,
)


class PeakReplicas:
    """Recommends a constant number of replicas that carries the largest total demand seen."""

    name = "peak"
    optimization_type = OptimizationType.SCALING_OPTIMIZATION
    metrics: Sequence[str] = ("cpu_cores",)
    forecasts: Sequence[str] = ()
    prior = Prior()

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Proposes `replicas`; everything else stays as it is."""
        workload = context.snapshot.workload
        request = workload.state.total("cpu_request_cores")
        if not request or workload.state.replicas is None:
            return self._decline(DeclineCode.UNKNOWN_STATE, "Request or replicas are not known.")
        total = np.zeros(context.snapshot.grid.size)
        for name in context.snapshot.containers:
            series = context.snapshot.series(name, "cpu_cores")
            if series is not None:
                hottest = series.hottest()
                total += np.where(np.isfinite(hottest), hottest, 0.0)
        if not total.any():
            return self._decline(DeclineCode.NO_DATA, "CPU was never measured.")
        peak = float(total.max()) * workload.state.replicas
        replicas = max(math.ceil(peak / request), 1)
        return Proposal(
            optimization_type=self.optimization_type,
            target=msgspec.structs.replace(workload.state, replicas=replicas),
            description=f"Run {replicas} replicas of {workload.service_name}.",
        )

    def _decline(self, code: DeclineCode, reason: str) -> Declined:
        return decline(self.optimization_type, code, reason)
