"""What a Prometheus API answers, decoded; partial answers refused."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.errors import SourceError
from perfopt.metrics.grid import Times
from perfopt.metrics.snapshot import Array

_PUNCTUATION = b'[]" \n\t\r'


@dataclass(frozen=True, slots=True)
class DecodedAnswer[Data]:
    """Decoded data, and what the server remarked about the PromQL."""

    data: Data
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstantSample:
    """A series' value at the instant asked for."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class RangeSeries:
    """A series over a range: times in ms since the epoch and values, both of shape (n,)."""

    labels: dict[str, str]
    times: Times
    values: Array

    @classmethod
    def concatenated(cls, pieces: Sequence["RangeSeries"]) -> "RangeSeries":
        """Returns the pieces of one series as one."""
        return cls(
            pieces[0].labels,
            np.concatenate([piece.times for piece in pieces]),
            np.concatenate([piece.values for piece in pieces]),
        )


class _ResultItem(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _QueryResult(msgspec.Struct, rename={"kind": "resultType"}):
    result: list[_ResultItem]
    kind: str


class _AnswerEnvelope(msgspec.Struct, rename={"is_partial": "isPartial"}):
    status: str
    warnings: list[str] | None = None
    is_partial: bool = False


class _QueryAnswer(_AnswerEnvelope, kw_only=True):
    data: _QueryResult


class _SeriesAnswer(_AnswerEnvelope, kw_only=True):
    data: list[dict[str, str]]


class _LabelAnswer(_AnswerEnvelope, kw_only=True):
    data: list[str]


_QUERY = msgspec.json.Decoder(_QueryAnswer)
_SERIES = msgspec.json.Decoder(_SeriesAnswer)
_LABEL = msgspec.json.Decoder(_LabelAnswer)
_NUMBERS = msgspec.json.Decoder(list[float])


def decode_vector(body: bytes, server: str) -> DecodedAnswer[list[InstantSample]]:
    """Decodes the answer of an instant query.

    Raises:
        SourceError: not JSON, cut off, of another shape, or declared partial by the server.
    """
    answer = _decoded(_QUERY, body, server)
    samples = [InstantSample(item.metric, float(item.value[1])) for item in answer.data.result if item.value]
    return DecodedAnswer(samples, _checked(answer, server))


def decode_matrix(body: bytes, server: str) -> DecodedAnswer[list[RangeSeries]]:
    """Decodes the answer of a range query; raises what decode_vector does."""
    answer = _decoded(_QUERY, body, server)
    if answer.data.kind != "matrix":
        raise _nonsense(server, f"a {answer.data.kind} where a matrix was asked for")
    series = [_range_series(item, server) for item in answer.data.result]
    return DecodedAnswer(series, _checked(answer, server))


def decode_series(body: bytes, server: str) -> DecodedAnswer[list[dict[str, str]]]:
    """Decodes the answer of a series request; raises what decode_vector does."""
    answer = _decoded(_SERIES, body, server)
    return DecodedAnswer(answer.data, _checked(answer, server))


def decode_label(body: bytes, server: str) -> DecodedAnswer[list[str]]:
    """Decodes the answer of a request for a label's values; raises what decode_vector does."""
    answer = _decoded(_LABEL, body, server)
    return DecodedAnswer(answer.data, _checked(answer, server))


def _decoded[AnswerT: (_QueryAnswer, _SeriesAnswer, _LabelAnswer)](
    decoder: msgspec.json.Decoder[AnswerT], body: bytes, server: str
) -> AnswerT:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        shown = body[:60].decode("utf-8", "replace").strip()
        problem = "JSON that is cut off" if "truncated" in str(error) else "no answer of the Prometheus API"
        raise _nonsense(server, f"{problem} ({len(body)} bytes, beginning {shown!r})") from error


def _nonsense(server: str, what: str) -> SourceError:
    return SourceError(
        f"{server} answered with {what}.",
        field="source",
        remedy="Check the URL and its base path, and any proxy in front of it.",
    )


def _range_series(item: _ResultItem, server: str) -> RangeSeries:
    """Parses [[seconds,"value"],...]: flat JSON is read four times as fast as pairs with strings."""
    flat = b"[" + bytes(item.values).translate(None, _PUNCTUATION) + b"]"
    try:
        numbers = _NUMBERS.decode(flat)
    except msgspec.DecodeError:
        numbers = _special_numbers(flat, server)
    if len(numbers) % 2:
        raise _nonsense(server, "values that are not numbers")
    pairs = np.array(numbers).reshape(-1, 2)
    return RangeSeries(item.metric, np.rint(pairs[:, 0] * 1000).astype(np.int64), pairs[:, 1].copy())


def _special_numbers(flat: bytes, server: str) -> list[float]:
    """Parses numbers some of which JSON does not have: NaN, +Inf, -Inf."""
    try:
        return [float(text) for text in flat[1:-1].split(b",")]
    except ValueError as error:
        raise _nonsense(server, "values that are not numbers") from error


def _checked(answer: _AnswerEnvelope, server: str) -> tuple[str, ...]:
    """Refuses a partial answer; returns what was remarked about the PromQL only."""
    partial = [text for text in answer.warnings or () if not text.startswith("PromQL ")]
    if answer.is_partial and not partial:
        partial = ["isPartial is true"]
    if partial:
        raise SourceError(
            f"{server} answered with part of the data only: {'; '.join(partial)[:400]}.",
            field="source",
            remedy="See which of its stores is down; nothing is recommended from partial data.",
        )
    return tuple(text for text in answer.warnings or () if text.startswith("PromQL "))
