"""What goes out for one recommendation: subject, headers and the exact bytes (DESIGN.md section 3). Pure."""

import string
from datetime import datetime
from uuid import UUID

import msgspec

from perfopt.domain.event import (
    EVENT_TYPE,
    OptimizationRecommendationData,
    OptimizationRecommendationGenerated,
)
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation

SUBJECT_PREFIX = "quantivista.optimization.recommendation_generated"
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
    made: OptimizationRecommendation, *, event_id: UUID, at: datetime, base_url: str | None = None
) -> EventMessage:
    """Builds the event of one recommendation.

    Args:
        made: the recommendation, with its final id.
        event_id: of the event.
        at: when it was generated.
        base_url: the public address of the API, for `details_url`.
    """
    timestamp = format_instant(at)
    body = OptimizationRecommendationGenerated(
        event_id=str(event_id),
        timestamp=timestamp,
        optimization_recommendation=OptimizationRecommendationData.from_recommendation(made),
        details_url=_details_url(base_url, made.recommendation_id),
    )
    headers = {
        "Nats-Msg-Id": str(event_id),
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": str(event_id),
        "ce-source": base_url or "urn:quantivista:perfopt",
        "ce-type": EVENT_TYPE,
        "ce-time": timestamp,
        "ce-subject": made.recommendation_id,
    }
    return EventMessage(
        event_id=event_id,
        subject=event_subject(made.optimization_type.value, made.service_name),
        headers=headers,
        payload=msgspec.json.encode(body),
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
