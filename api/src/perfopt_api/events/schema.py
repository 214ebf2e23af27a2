"""Schemas of the events, generated from their structs: JSON Schema, and an AsyncAPI 3 document."""

from typing import Any

import msgspec

from perfopt.domain.event import (
    EVENT_TYPE,
    WITHDRAWN_TYPE,
    OptimizationRecommendationGenerated,
    OptimizationRecommendationWithdrawn,
)
from perfopt_api.events.message import SUBJECT_PREFIX, WITHDRAWN_PREFIX

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EVENTS: tuple[tuple[str, type, str, str], ...] = (
    ("recommendationGenerated", OptimizationRecommendationGenerated, SUBJECT_PREFIX, EVENT_TYPE),
    ("recommendationWithdrawn", OptimizationRecommendationWithdrawn, WITHDRAWN_PREFIX, WITHDRAWN_TYPE),
)
_HEADERS = {
    "Nats-Msg-Id": "The event's id; JetStream drops a second message of the same id within a day.",
    "content-type": "application/json",
    "ce-specversion": "CloudEvents 1.0.",
    "ce-id": "The event's id.",
    "ce-source": "The setting base_url, or urn:quantivista:perfopt.",
    "ce-time": "When the event was written, UTC.",
    "ce-subject": "The recommendation's id.",
}


def event_json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the event's body."""
    (root,), definitions = msgspec.json.schema_components(
        (OptimizationRecommendationGenerated,), ref_template="#/$defs/{name}"
    )
    return {"$schema": _DIALECT, "title": EVENT_TYPE, **root, "$defs": definitions}


def asyncapi_document(*, version: str, stream: str) -> dict[str, Any]:
    """Returns the AsyncAPI 3 document of what the service publishes.

    Args:
        version: of the service.
        stream: the JetStream stream that keeps the events.
    """
    _, schemas = msgspec.json.schema_components(
        [body for _, body, _, _ in _EVENTS], ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "perfopt events",
            "version": version,
            "description": f"Events on NATS JetStream, kept in the stream {stream}.",
        },
        "defaultContentType": "application/json",
        "channels": {channel: _channel(body, prefix) for channel, body, prefix, _ in _EVENTS},
        "operations": {
            f"publish{channel[0].upper()}{channel[1:]}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{channel}"},
            }
            for channel, _, _, _ in _EVENTS
        },
        "components": {
            "messages": {body.__name__: _message(body, kind) for _, body, _, kind in _EVENTS},
            "schemas": schemas,
        },
    }


def _channel(body: type, prefix: str) -> dict[str, Any]:
    token = "All characters but [A-Za-z0-9_-] are percent-encoded."  # noqa: S105  a token of a subject
    return {
        "address": f"{prefix}.{{optimization_type}}.{{service_name}}",
        "parameters": {
            "optimization_type": {"description": "The type of the recommendation."},
            "service_name": {"description": f"The service. {token}"},
        },
        "messages": {body.__name__: {"$ref": f"#/components/messages/{body.__name__}"}},
    }


def _message(body: type, kind: str) -> dict[str, Any]:
    described = _HEADERS | {"ce-type": kind}
    properties = {name: {"type": "string", "description": text} for name, text in described.items()}
    return {
        "name": kind,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": properties, "required": list(described)},
        "payload": {"$ref": f"#/components/schemas/{body.__name__}"},
    }
