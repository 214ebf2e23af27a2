"""Schemas of the events, generated from their structs: JSON Schema, and an AsyncAPI 3 document."""

from typing import Any

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
    OptimizationRecommendationGenerated,
    OptimizationRecommendationWithdrawn,
    OptimizationRolledBack,
    OptimizationStrategyDemoted,
)
from perfopt_api.events.message import (
    APPLIED_PREFIX,
    ATTENTION_PREFIX,
    DEMOTED_PREFIX,
    ROLLED_BACK_PREFIX,
    STATUS_PREFIX,
    SUBJECT_PREFIX,
    WITHDRAWN_PREFIX,
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EVENTS: tuple[tuple[str, type, str, str], ...] = (
    ("recommendationGenerated", OptimizationRecommendationGenerated, SUBJECT_PREFIX, EVENT_TYPE),
    ("recommendationWithdrawn", OptimizationRecommendationWithdrawn, WITHDRAWN_PREFIX, WITHDRAWN_TYPE),
    ("jobStatusChanged", OptimizationJobStatusChanged, STATUS_PREFIX, STATUS_TYPE),
    ("applied", OptimizationApplied, APPLIED_PREFIX, APPLIED_TYPE),
    ("rolledBack", OptimizationRolledBack, ROLLED_BACK_PREFIX, ROLLED_BACK_TYPE),
    ("attentionNeeded", OptimizationAttentionNeeded, ATTENTION_PREFIX, ATTENTION_TYPE),
    ("strategyDemoted", OptimizationStrategyDemoted, DEMOTED_PREFIX, DEMOTED_TYPE),
)
_PARAMETERS = {DEMOTED_PREFIX: ("strategy", "service_class")}
_MEANING = {
    "optimization_type": "The type of the recommendation.",
    "service_name": "The service.",
    "strategy": "The strategy.",
    "service_class": "The class of services.",
}
_HEADERS = {
    "Nats-Msg-Id": "The event's id; JetStream drops a second message of the same id within a day.",
    "content-type": "application/json",
    "ce-specversion": "CloudEvents 1.0.",
    "ce-id": "The event's id.",
    "ce-source": "The setting base_url, or urn:quantivista:perfopt.",
    "ce-time": "When the event was written, UTC.",
    "ce-subject": "The id of the recommendation or the job, or the strategy.",
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
    names = _PARAMETERS.get(prefix, ("optimization_type", "service_name"))
    return {
        "address": f"{prefix}.{{{names[0]}}}.{{{names[1]}}}",
        "parameters": {name: {"description": f"{_MEANING[name]} {token}"} for name in names},
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
