"""Little's law: requests in flight = arrivals a second x seconds each takes (Little 1961)."""

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
    Reason,
    decline,
)
from pool_sizer.settings import PoolSizerSettings

BUSY_QUANTILE = 0.99


class PoolSizer:
    """Recommends a pool that holds the requests in flight at busy times, with headroom."""

    name = "littles-law"
    optimization_type = OptimizationType.PERFORMANCE_TUNING
    metrics: Sequence[str] = ("requests_per_second", "latency_p99_ms")
    forecasts: Sequence[str] = ("requests_per_second",)
    prior = Prior()

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Proposes `knobs.connection_pool_size`; everything else stays as it is."""
        service = context.snapshot.service
        if not all(name in service for name in self.metrics):
            return self._decline("It needs request rate and latency.")
        in_flight = service["requests_per_second"] * service["latency_p99_ms"] / 1000
        in_flight = in_flight[np.isfinite(in_flight)]
        if not in_flight.size:
            return self._decline("Request rate and latency were never measured together.")
        busy = float(np.quantile(in_flight, BUSY_QUANTILE))
        ahead = context.forecasts.get("requests_per_second")
        if ahead is not None:
            seconds = float(np.nanquantile(service["latency_p99_ms"], 0.5)) / 1000
            busy = max(busy, seconds * float(ahead.quantile(0.95).max()))
        headroom = context.settings_as(PoolSizerSettings).headroom
        size = max(math.ceil(headroom * busy), 1)
        state = context.snapshot.workload.state
        target = msgspec.structs.replace(
            state, extra={**state.extra, "knobs": {"connection_pool_size": size}}
        )
        return Proposal(
            optimization_type=self.optimization_type,
            target=target,
            description=f"Hold {size} connections in the pool of {context.snapshot.workload.service_name}.",
            reasons=(
                Reason(
                    code="littles_law",
                    text=f"{busy:.1f} requests are in flight at the 99th percentile of time.",
                    data={"in_flight": round(busy, 3), "forecasters": dict(ahead.weights) if ahead else {}},
                ),
            ),
        )

    def _decline(self, reason: str) -> Declined:
        return decline(self.optimization_type, DeclineCode.NO_DATA, reason)
