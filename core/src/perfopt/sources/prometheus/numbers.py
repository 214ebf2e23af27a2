"""Numbers of kube-state-metrics as they may come: also NaN, infinite, negative, or past 64 bits. Pure."""

import math

_PAST_INT64 = 2.0**63
_MAX_PODS = 150_000  # that Kubernetes supports in a cluster


def whole(value: float) -> int | None:
    """Returns a count or an amount of bytes; None where it can be none."""
    return int(value) if math.isfinite(value) and 0 <= value < _PAST_INT64 else None


def replica_count(value: float) -> int | None:
    """Returns a number of replicas; None where no cluster could run so many."""
    return whole(value) if value <= _MAX_PODS else None


def amount(value: float | None) -> float | None:
    """Returns an amount of a resource; None where it can be none."""
    return value if value is not None and math.isfinite(value) and 0 <= value < _PAST_INT64 else None
