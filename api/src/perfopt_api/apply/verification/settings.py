"""How changes are verified: the `verification` section of the configuration."""

from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from perfopt.domain.period import format_duration, parse_duration
from perfopt.errors import InvalidInputError
from perfopt_api.apply.verification.harm import HarmMargins

SECTION = "verification"
MIN_STEPS = 10
"""Steps with data on either side of a change, without which nothing is known."""

_PAST_LENGTHS = 7  # lengths of the time to watch that the past must hold, to compare with and for placebos


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


def parse_verify_for(text: str, settings: VerificationSettings) -> timedelta:
    """Parses how long a workload is to be watched after its change.

    Args:
        text: of a request, such as `2h`.
        settings: how changes are verified.

    Raises:
        InvalidInputError: malformed, or too short or too long to be compared with the time before.
    """
    asked = parse_duration(text, field="verify_for")
    shortest = timedelta(seconds=MIN_STEPS * settings.step_seconds)
    longest = timedelta(days=settings.past_days) / _PAST_LENGTHS
    if shortest <= asked <= longest:
        return asked
    raise InvalidInputError(
        f"verify_for must be from {format_duration(shortest)}"
        f" ({MIN_STEPS} steps of verification.step_seconds)"
        f" to {format_duration(longest)} (1/{_PAST_LENGTHS} of verification.past_days).",
        field="verify_for",
        remedy="Write a time in between, or leave it out for that of the policy.",
    )
