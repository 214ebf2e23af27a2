"""How much of its error budget a service has left: requests that may be slow or fail by its objective."""

import numpy as np

from perfopt.domain.workload import Slo
from perfopt.metrics.pods import PodHistory
from perfopt_api.apply.verifier import ErrorBudget


def error_budget(slo: Slo, history: PodHistory) -> ErrorBudget | None:
    """Returns what is left of a latency objective's budget; None where the series do not show it.

    A request counts as slow above the smallest bucket bound that is at least the objective, so that buckets
    that do not meet it never count too many; one that fails counts as well.

    Args:
        slo: the objective: a share `quantile` of the requests is faster than `latency_ms`.
        history: of all pods.
    """
    served, latency = history.requests, history.latency
    if served is None or latency is None:
        return None
    bounds = np.flatnonzero(latency.bounds >= slo.latency_ms / 1000 * (1 - 1e-9))
    requests = float(np.nansum(served))
    if not bounds.size or not requests:
        return None
    slow = np.nansum(np.maximum(served - latency.within[..., bounds[0]], 0.0))
    failed = 0.0 if history.failed is None else np.nansum(history.failed)
    bad = float(min(slow + failed, requests))
    objective = f"{slo.quantile * 100:g} % of requests within {slo.latency_ms:g} ms"
    allowed = requests * (1 - slo.quantile)
    return ErrorBudget(objective=objective, requests=requests, bad=bad, left=1 - bad / allowed)
