"""What the API tells a running autoscaler: how many replicas are needed, now and soon."""

from datetime import datetime

import msgspec


class ReplicaNeed(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas.

    Attributes:
        needed: to hold now: what the plan asks for from now until a replica that starts now is ready. This
            is what KEDA's metrics-api scaler reads, by the valueLocation `replicas.needed`.
        low, high: what the 5 % and 95 % quantiles of the demand would need by the time that a replica started
            now is ready; None where only the stored plan is known.
        minimum: of the recommended autoscaler.
        maximum: of the recommended autoscaler.
    """

    needed: int
    low: int | None = None
    high: int | None = None
    minimum: int
    maximum: int


class ShortTermDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What the latest minutes say of the demand.

    Attributes:
        measured_until: end of the last minute with a sample.
        measured_cores: used by all replicas in that minute.
        ready_at: when a replica that starts now is ready: the instant that is forecast.
        expected_cores: the middle of the forecast for then.
        low_cores: what it stays above with 95 %.
        high_cores: what it stays below with 95 %.
    """

    measured_until: datetime
    measured_cores: float
    ready_at: datetime
    expected_cores: float
    low_cores: float
    high_cores: float


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
    """The need of one service, by its latest minutes or else by its recommendation in force.

    Attributes:
        service_name: as it was analysed.
        workload: its full name.
        recommendation_id: the recommendation this is read from.
        basis: of `replicas`. "live": the latest minutes. Else the stored plan, and `not_live` says why:
            "schedule" where its forecast is planned by, "reactive" where that is not trusted and `needed` is
            the minimum only.
        age_seconds: how old the basis is: the last sample, or the stored plan.
        at: the instant of `replicas` and the start of `forecast`.
        made_at: when the recommendation was made. Demand since then is not in it.
        valid_until: after it this answers 409, and KEDA goes on with its other triggers.
        replicas: now.
        short_term: the short-term forecast of the demand at the end of a start-up; None where it is not live.
        nowcast: an older name of `short_term`, with the same value until the next minor version.
        not_live: why the latest minutes are not used, as one sentence; None where they are.
        forecast: the stored plan from now on, in spans.
    """

    service_name: str
    workload: str
    recommendation_id: str
    basis: str
    age_seconds: float
    at: datetime
    made_at: datetime
    valid_until: datetime
    replicas: ReplicaNeed
    short_term: ShortTermDemand | None = None
    nowcast: ShortTermDemand | None = None
    not_live: str | None = None
    forecast: tuple[DemandStep, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "nowcast", self.short_term)
