"""Finds recommendations, in a service or in printed results, and tells what rules did to them."""

import os
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from perfopt.cli.output.render import table
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation, Plan
from perfopt.errors import InvalidInputError, NotFoundError, SourceError, SourceUnavailableError

_PATH = "/api/v1/optimization/recommendations/"
_TIMEOUT_SECONDS = 10.0


def fetched(server: str, recommendation_id: str) -> OptimizationRecommendation:
    """Asks a service for a recommendation.

    Raises:
        InvalidInputError: the address is none.
        NotFoundError: the service does not have it.
        SourceError: the service can't be reached, refuses, or answers something else.
    """
    token = os.environ.get("PERFOPT_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{server.rstrip('/')}{_PATH}{quote(recommendation_id, safe='')}"
    try:
        answer = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise InvalidInputError(f"{server!r} is no address.", remedy="Write http://HOST:PORT.") from None
    except httpx.TransportError as error:
        raise SourceUnavailableError(f"{server} cannot be reached: {error}.") from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"{server} has no recommendation {recommendation_id!r}.")
    if answer.status_code != httpx.codes.OK:
        remedy = "Set PERFOPT_TOKEN." if answer.status_code in (401, 403) else None
        raise SourceError(f"{server} answered with status {answer.status_code}.", remedy=remedy)
    try:
        return msgspec.json.decode(answer.content, type=OptimizationRecommendation)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{server} answered something else than a recommendation: {error}.") from None


def given(text: bytes, recommendation_id: str | None) -> list[OptimizationRecommendation]:
    """Finds recommendations in the output of `perfopt analyze`.

    Args:
        text: JSON of a report, of one recommendation, or one JSON object a line.
        recommendation_id: the one wanted; None is all.

    Raises:
        InvalidInputError: neither.
        NotFoundError: it is not among them; lists those that are.
    """
    try:
        found = [_recommendation(plain) for value in _values(text) for plain in _plain(value)]
    except msgspec.MsgspecError as error:
        raise InvalidInputError(
            f"The input is no recommendation: {error}.",
            remedy="Give what `perfopt analyze --format json` printed.",
        ) from None
    if recommendation_id is None:
        return found
    chosen = [made for made in found if made.recommendation_id == recommendation_id]
    if not chosen:
        known = tuple(made.recommendation_id for made in found)
        raise NotFoundError(
            f"There is no recommendation {recommendation_id!r} in the input.",
            remedy=f"There are: {', '.join(known) or 'none'}.",
            candidates=known,
        )
    return chosen


def given_plans(text: bytes) -> list[tuple[str, Plan]]:
    """Finds the plans of several recommendations in the output of `perfopt analyze`, with their services."""
    results = [
        result
        for value in _values(text)
        if isinstance(value, dict)
        for result in value.get("results", ())
        if result.get("plan") is not None
    ]
    found = [(result["service_name"], msgspec.convert(result["plan"], Plan)) for result in results]
    return [(service, plan) for service, plan in found if len(plan.steps) > 1]


def _values(text: bytes) -> list[Any]:
    try:
        return [msgspec.json.decode(text)]
    except msgspec.DecodeError:
        return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]


def _plain(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [inner for item in value for inner in _plain(item)]
    if not isinstance(value, dict):
        raise msgspec.ValidationError("it is neither an object nor a list")
    if "recommendation_id" in value:
        return [value]
    below = [value.get("results"), value.get("recommendations")]
    return [inner for items in below if items is not None for inner in _plain(items)]


def _recommendation(plain: Any) -> OptimizationRecommendation:
    return msgspec.convert(plain, OptimizationRecommendation)


def explanation(made: OptimizationRecommendation) -> str:
    """Tells what rules did to a recommendation, in words and a table."""
    return _explained(f"{made.recommendation_id}: {made.optimization_type} of {made.service_name}", made)


def plan_explanation(service: str, plan: Plan) -> str:
    """Tells what rules did to the parts of a plan and to the whole."""
    parts = " and ".join(step.recommendation_id for step in plan.steps)
    return _explained(f"The plan of {service}, from {parts}", plan)


def _explained(title: str, made: OptimizationRecommendation | Plan) -> str:
    if not made.rules:
        return f"{title}\nNo rule changed it or held it back.\n"
    rows = [
        (
            f"{fired.pack}/{fired.rule} {fired.version}",
            fired.action,
            " ".join(filter(None, (fired.container, fired.field))),
            _value(fired.before),
            _value(fired.after),
            fired.reason,
        )
        for fired in made.rules
    ]
    shown = table(("RULE", "ACTION", "FIELD", "BEFORE", "AFTER", "REASON"), rows)
    return f"{title}\n{shown}{_conditions(made)}"


def _value(value: str | int | float | None) -> str:
    return "-" if value is None else str(value)


def _conditions(made: OptimizationRecommendation | Plan) -> str:
    lines = ["It needs approval before it is applied."] if made.requires_approval else []
    if made.allowed_windows:
        spans = [f"{format_instant(w.start)} to {format_instant(w.end)}" for w in made.allowed_windows]
        lines.append(f"It may be applied {', '.join(spans)}.")
    return "".join(f"{line}\n" for line in lines)
