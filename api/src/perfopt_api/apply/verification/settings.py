"""How changes are verified: the `verification` section of the configuration."""

from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt_api.apply.verification.harm import HarmMargins

SECTION = "verification"


class VerificationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is judged whether a change did harm.

    Attributes:
        alpha: probability that a harmless change is called harmful, over all metrics and looks of one change.
        beta: probability that a change passes that does more harm than accepted in a metric.
        margins: the harm that is accepted.
        step_seconds: of what is compared; at least the interval of scrapes.
        past_hours: before the change, over which a canary's false alarms are measured by placebo runs.
        past_days: the same where all pods are changed at once and compared with the time before.
        placebos: runs on the past.
        pods: at most so many are compared, the canary's first.
    """

    alpha: Annotated[float, Meta(gt=0, lt=0.5)] = 0.01
    beta: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05
    margins: HarmMargins = HarmMargins()
    step_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    past_hours: Annotated[float, Meta(gt=0, le=336)] = 24.0
    past_days: Annotated[float, Meta(gt=0, le=60)] = 7.0
    placebos: Annotated[int, Meta(ge=0, le=10_000)] = 200
    pods: Annotated[int, Meta(ge=2, le=1000)] = 30
