"""Schemas of the events, generated from their structs: JSON Schema, and an AsyncAPI 3 document."""

from typing import Any

import msgspec

from perfopt.domain.event import EVENT_TYPE, OptimizationRecommendationGenerated
from perfopt_api.events.message import SUBJECT_PREFIX

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CHANNEL, _MESSAGE = "recommendationGenerated", OptimizationRecommendationGenerated.__name__
_HEADERS = {
    "Nats-Msg-Id": "The event's id; JetStream drops a second message of the same id within a day.",
    "content-type": "application/json",
    "ce-specversion": "CloudEvents 1.0.",
    "ce-id": "The event's id.",
    "ce-source": "The setting base_url, or urn:quantivista:perfopt.",
    "ce-type": EVENT_TYPE,
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
        (OptimizationRecommendationGenerated,), ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "perfopt events",
            "version": version,
            "description": f"Events on NATS JetStream, kept in the stream {stream}.",
        },
        "defaultContentType": "application/json",
        "channels": {_CHANNEL: _channel()},
        "operations": {"publish": {"action": "send", "channel": {"$ref": f"#/channels/{_CHANNEL}"}}},
        "components": {"messages": {_MESSAGE: _message()}, "schemas": schemas},
    }


def _channel() -> dict[str, Any]:
    token = "All characters but [A-Za-z0-9_-] are percent-encoded."  # noqa: S105  a token of a subject
    return {
        "address": f"{SUBJECT_PREFIX}.{{optimization_type}}.{{service_name}}",
        "parameters": {
            "optimization_type": {"description": "The type of the recommendation."},
            "service_name": {"description": f"The service. {token}"},
        },
        "messages": {_MESSAGE: {"$ref": f"#/components/messages/{_MESSAGE}"}},
    }


def _message() -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    return {
        "name": EVENT_TYPE,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": properties, "required": list(_HEADERS)},
        "payload": {"$ref": f"#/components/schemas/{_MESSAGE}"},
    }
