"""What goes out for one recommendation: subject, headers and the exact bytes."""

import string
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from perfopt.domain.event import (
    APPLIED_TYPE,
    ATTENTION_TYPE,
    DEMOTED_TYPE,
    EVENT_TYPE,
    ROLLED_BACK_TYPE,
    STATUS_TYPE,
    WITHDRAWN_TYPE,
    OptimizationApplied,
    OptimizationAttentionNeeded,
    OptimizationJobStatusChanged,
    OptimizationRecommendationData,
    OptimizationRecommendationGenerated,
    OptimizationRecommendationWithdrawn,
    OptimizationRolledBack,
    OptimizationStrategyDemoted,
)
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.tracing import trace_headers

SUBJECT_PREFIX = "quantivista.optimization.recommendation_generated"
WITHDRAWN_PREFIX = "quantivista.optimization.recommendation_withdrawn"
STATUS_PREFIX = "quantivista.optimization.job_status_changed"
APPLIED_PREFIX = "quantivista.optimization.applied"
ROLLED_BACK_PREFIX = "quantivista.optimization.rolled_back"
ATTENTION_PREFIX = "quantivista.optimization.attention_needed"
DEMOTED_PREFIX = "quantivista.optimization.strategy_demoted"
PREFIXES = (
    SUBJECT_PREFIX,
    WITHDRAWN_PREFIX,
    STATUS_PREFIX,
    APPLIED_PREFIX,
    ROLLED_BACK_PREFIX,
    ATTENTION_PREFIX,
    DEMOTED_PREFIX,
)
"""Of every subject that the stream of events keeps."""
JobEvent = (
    OptimizationJobStatusChanged | OptimizationApplied | OptimizationRolledBack | OptimizationAttentionNeeded
)
_JOB_EVENTS: dict[type, tuple[str, str]] = {
    OptimizationJobStatusChanged: (STATUS_PREFIX, STATUS_TYPE),
    OptimizationApplied: (APPLIED_PREFIX, APPLIED_TYPE),
    OptimizationRolledBack: (ROLLED_BACK_PREFIX, ROLLED_BACK_TYPE),
    OptimizationAttentionNeeded: (ATTENTION_PREFIX, ATTENTION_TYPE),
}
_PLAIN = frozenset(string.ascii_letters + string.digits + "_-")


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the outbox keeps it and NATS carries it.

    Attributes:
        event_id: also its `Nats-Msg-Id`, by which JetStream drops a second copy.
        payload: the body, kept byte for byte so that the stream can be rebuilt.
    """

    event_id: UUID
    subject: str
    headers: dict[str, str]
    payload: bytes


def event_message(
    recommendation: OptimizationRecommendation,
    *,
    event_id: UUID,
    at: datetime,
    base_url: str | None = None,
    job_id: str | None = None,
    supersedes: str | None = None,
) -> EventMessage:
    """Builds the event of one recommendation.

    Args:
        recommendation: the recommendation, with its final id.
        event_id: of the event.
        at: when it was generated.
        base_url: the public address of the API, for `details_url`.
        job_id: the analysis that made it.
        supersedes: id of the recommendation whose place it takes.
    """
    body = OptimizationRecommendationGenerated(
        event_id=str(event_id),
        timestamp=format_instant(at),
        optimization_recommendation=OptimizationRecommendationData.from_recommendation(recommendation),
        details_url=_details_url(base_url, recommendation.recommendation_id),
        job_id=job_id,
        valid_until=format_instant(recommendation.valid_until),
        supersedes=supersedes,
        no_change=recommendation.no_change_needed,
    )
    subject = event_subject(recommendation.optimization_type.value, recommendation.service_name)
    return _message(body, subject, EVENT_TYPE, recommendation.recommendation_id, base_url)


def withdrawal_message(
    withdrawn: OptimizationRecommendationWithdrawn, base_url: str | None = None
) -> EventMessage:
    """Builds the event of one withdrawal.

    Args:
        withdrawn: the body but for `details_url`.
        base_url: the public address of the API, for `details_url`.
    """
    details = _details_url(base_url, withdrawn.recommendation_id)
    body = msgspec.structs.replace(withdrawn, details_url=details)
    subject = f"{WITHDRAWN_PREFIX}.{_token(body.optimization_type)}.{_token(body.service_name)}"
    return _message(body, subject, WITHDRAWN_TYPE, body.recommendation_id, base_url)


def job_message(happened: JobEvent, base_url: str | None = None) -> EventMessage:
    """Builds the event of a job.

    Args:
        happened: the body but for `details_url`.
        base_url: the public address of the API, for `details_url`.
    """
    body = msgspec.structs.replace(happened, details_url=_job_url(base_url, happened.job_id))
    prefix, kind = _JOB_EVENTS[type(body)]
    subject = f"{prefix}.{_token(body.optimization_type)}.{_token(body.service_name)}"
    return _message(body, subject, kind, body.job_id, base_url)


def demotion_message(demoted: OptimizationStrategyDemoted, base_url: str | None = None) -> EventMessage:
    """Builds the event of a strategy that is only advice from now on."""
    subject = f"{DEMOTED_PREFIX}.{_token(demoted.strategy)}.{_token(demoted.service_class)}"
    return _message(demoted, subject, DEMOTED_TYPE, demoted.strategy, base_url)


class _EventBody(Protocol):
    @property
    def event_id(self) -> str: ...

    @property
    def timestamp(self) -> str: ...


def _message(
    body: _EventBody,
    subject: str,
    kind: str,
    about: str,
    base_url: str | None,
) -> EventMessage:
    headers = {
        "Nats-Msg-Id": body.event_id,
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": body.event_id,
        "ce-source": base_url or "urn:quantivista:perfopt",
        "ce-type": kind,
        "ce-time": body.timestamp,
        "ce-subject": about,
        **trace_headers(),
    }
    return EventMessage(
        event_id=UUID(body.event_id), subject=subject, headers=headers, payload=msgspec.json.encode(body)
    )


def event_subject(optimization_type: str, service_name: str) -> str:
    """Returns `<prefix>.<optimization_type>.<service_name>`, each one token of a NATS subject."""
    return f"{SUBJECT_PREFIX}.{_token(optimization_type)}.{_token(service_name)}"


def _token(text: str) -> str:
    return "".join(
        char if char in _PLAIN else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text
    )


def _details_url(base_url: str | None, recommendation_id: str) -> str | None:
    if base_url is None:
        return None
    return f"{base_url.rstrip('/')}/api/v1/optimization/recommendations/{recommendation_id}"


def _job_url(base_url: str | None, job_id: str) -> str | None:
    return None if base_url is None else f"{base_url.rstrip('/')}/api/v1/optimization/jobs/{job_id}"
