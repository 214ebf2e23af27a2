"""Finds recommendations in a service, or in what `perfopt analyze` printed."""

import os
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import httpx
import msgspec

from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation, Plan
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
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InvalidInputError(f"{server!r} is not an address.", remedy="Write http://HOST:PORT.") from error
    except httpx.TransportError as error:
        raise SourceUnavailableError(
            f"{server} can't be reached: {error}.", remedy="Check the address and that the service runs."
        ) from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"{server} has no recommendation {recommendation_id!r}.")
    if answer.status_code != httpx.codes.OK:
        remedy = "Set PERFOPT_TOKEN." if answer.status_code in (401, 403) else None
        raise SourceError(f"{server} answered with status {answer.status_code}.", remedy=remedy)
    try:
        return msgspec.json.decode(answer.content, type=OptimizationRecommendation)
    except msgspec.MsgspecError as error:
        raise SourceError(
            f"{server} answered something else than a recommendation: {error}.",
            remedy="Give the address of a perfopt service.",
        ) from error


def read_input(source: BinaryIO) -> bytes:
    """Reads what `perfopt analyze` printed.

    Raises:
        UsageError: it would wait for someone to type it.
        InvalidInputError: there is nothing.
    """
    if source.isatty():
        raise click.UsageError(
            "Give --server ADDRESS or --input FILE, or pipe in what `perfopt analyze --format json` prints."
        )
    text = source.read()
    if not text.strip():
        raise InvalidInputError(
            "The input is empty.",
            field="--input",
            remedy="Give what `perfopt analyze --format json` printed, or --server ADDRESS.",
        )
    return text


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
        recommendations = [_recommendation(plain) for value in _values(text) for plain in _plain(value)]
    except msgspec.MsgspecError as error:
        raise InvalidInputError(
            f"The input is not a recommendation: {error}.",
            remedy="Give what `perfopt analyze --format json` printed.",
        ) from error
    if recommendation_id is None:
        return recommendations
    chosen = [
        recommendation
        for recommendation in recommendations
        if recommendation.recommendation_id == recommendation_id
    ]
    if not chosen:
        known = tuple(recommendation.recommendation_id for recommendation in recommendations)
        raise NotFoundError(
            f"There is no recommendation {recommendation_id!r} in the input.",
            remedy=f"There are: {', '.join(known) or 'none'}.",
            candidates=known,
        )
    return chosen


def given_result(text: bytes, recommendation_id: str) -> AnalysisResult:
    """Finds the result that a recommendation is part of; where only itself is there, one of it alone.

    Raises:
        InvalidInputError, NotFoundError: as `given` does.
    """
    (recommendation,) = given(text, recommendation_id)[:1]
    for value in _values(text):
        for plain in value.get("results", ()) if isinstance(value, dict) else ():
            ids = [one["recommendation_id"] for one in plain["recommendations"]]
            if recommendation_id in ids:
                return msgspec.convert(plain, AnalysisResult)
    return alone(recommendation)


def alone(recommendation: OptimizationRecommendation) -> AnalysisResult:
    """Returns a result of one recommendation, of which no plan is known."""
    return AnalysisResult(
        service_name=recommendation.service_name,
        workload=recommendation.workload,
        recommendations=(recommendation,),
        declined=(),
        warnings=(),
    )


def given_plans(text: bytes) -> list[tuple[str, Plan]]:
    """Finds the plans of several recommendations in the output of `perfopt analyze`, with their services."""
    results = [
        result
        for value in _values(text)
        if isinstance(value, dict)
        for result in value.get("results", ())
        if result.get("plan") is not None
    ]
    plans = [(result["service_name"], msgspec.convert(result["plan"], Plan)) for result in results]
    return [(service, plan) for service, plan in plans if len(plan.steps) > 1]


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
