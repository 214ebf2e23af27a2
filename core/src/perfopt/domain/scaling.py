"""What the API tells a running autoscaler: how many replicas are needed, now and soon."""

from datetime import datetime

import msgspec


class ReplicaNeed(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas.

    Attributes:
        needed: to hold now: what the plan asks for from now until a replica that starts now is ready. This
            is what KEDA's metrics-api scaler reads, by the valueLocation `replicas.needed`.
        minimum: of the recommended autoscaler.
        maximum: of the recommended autoscaler.
    """

    needed: int
    minimum: int
    maximum: int


class DemandStep(msgspec.Struct, frozen=True, kw_only=True):
    """A span of the plan.

    Attributes:
        start: of the span.
        end: of the span; not in it.
        needed: replicas to hold.
        expected_cores: the middle of the forecast of the highest use within it; None where none was made.
        low_cores: what it stays above with 95 %.
        high_cores: what it stays below with 95 %.
    """

    start: datetime
    end: datetime
    needed: int
    expected_cores: float | None = None
    low_cores: float | None = None
    high_cores: float | None = None


class ScalingDemand(msgspec.Struct, frozen=True, kw_only=True):
    """The need of one service by its recommendation in force.

    Attributes:
        service_name: as it was analysed.
        workload: its full name.
        recommendation_id: the recommendation this is read from.
        basis: "schedule" where the forecast is planned by, "reactive" where it is not trusted and `needed`
            is the minimum only.
        at: the instant of `replicas` and the start of `forecast`.
        made_at: when the recommendation was made. Demand since then is not in it: the CPU trigger of the
            ScaledObject answers to that.
        valid_until: after it this answers 409, and KEDA goes on with its other triggers.
        replicas: now.
        forecast: the plan from now on, in spans.
    """

    service_name: str
    workload: str
    recommendation_id: str
    basis: str
    at: datetime
    made_at: datetime
    valid_until: datetime
    replicas: ReplicaNeed
    forecast: tuple[DemandStep, ...]
