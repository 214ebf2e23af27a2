"""Whether more replicas than now are needed: a raise of cost needs evidence that staying is not enough."""

import numpy as np

from perfopt.plugin import AnalysisContext, throttling
from perfopt_scaling.demand import TotalDemand
from perfopt_scaling.forecast import DemandForecast, windows_need

_ROUNDING = 1e-9


def staying_is_enough(context: AnalysisContext, demand: TotalDemand, need: DemandForecast) -> bool:
    """Tells whether the replicas that always ran were enough, and are expected to be.

    Only for a fixed number of replicas without an autoscaler, schedule or latency objective. Enough means
    that in every past stretch as long as the validity 99 in 100 steps stayed within what the replicas
    request, that the expected demand does as well, and that no container was throttled.
    """
    state = context.snapshot.workload.state
    managed = state.hpa is not None or state.keda is not None or "schedule" in state.extra
    if managed or context.snapshot.workload.slo is not None or context.snapshot.workload.unknown_autoscalers:
        return False
    ran = float(demand.replicas.min(initial=np.inf))
    if not state.replicas or ran < state.replicas or demand.stopped.any():
        return False
    holds = state.replicas * demand.request_cores * (1 + _ROUNDING)
    past = windows_need(demand.cores, context.snapshot.grid, context.validity, 1.0)
    return past <= holds and float(need.expected.max()) <= holds and not _throttled(context)


def _throttled(context: AnalysisContext) -> bool:
    shares = (throttling(context.snapshot, name) for name in context.snapshot.containers)
    return any(one is not None and one.considerable for one in shares)
