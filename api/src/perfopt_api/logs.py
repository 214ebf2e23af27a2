"""Structured logs on standard error; never a body, never a credential."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from perfopt_api.settings import ServiceSettings
from perfopt_api.tracing import trace_id


def add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds the id of the current trace to a line."""
    identity = trace_id()
    if identity is not None:
        event["trace_id"] = identity
    return event


def configure_logging(settings: ServiceSettings) -> None:
    """Sets structlog and the standard library's logging up, once in a process.

    Args:
        settings: level, and JSON lines or lines for people.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    lines, people = structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)
    renderer: Any = lines if settings.log_json else people
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    # Libraries log below warning what only their authors want to know.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
