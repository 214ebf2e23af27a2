"""Descriptions of the events that the service publishes, for those who subscribe."""

from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from perfopt_api.events.schema import asyncapi_document, event_json_schema
from perfopt_api.http.ports import ApiPorts


@get("/api/v1/events/schema.json", include_in_schema=False)
async def event_schema() -> Response[bytes]:
    """Serves the JSON Schema of the event's body."""
    return _json(event_json_schema(), "application/schema+json")


@get("/asyncapi.json", include_in_schema=False)
async def asyncapi_json(ports: NamedDependency[ApiPorts]) -> Response[bytes]:
    """Serves the AsyncAPI document."""
    document = asyncapi_document(version=version("perfopt-api"), stream=ports.settings.event_stream)
    return _json(document, "application/json")


def _json(document: dict[str, Any], media_type: str) -> Response[bytes]:
    return Response(msgspec.json.encode(document), media_type=media_type)
