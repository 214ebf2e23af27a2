"""What the engine and its worker processes say to each other.

Requests to a worker are pickled: they come from this process. Answers are msgpack, decoded by type:
they come from a process that ran foreign code, and unpickling them would run it here too.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np

from perfopt.config.documents import YamlDocument
from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    AnalysisWarning,
    Declined,
    Evidence,
    PredictionSeries,
)
from perfopt.domain.record import StrategyRecord
from perfopt.domain.rules import ApplyConditions, FiredRule
from perfopt.engine.registry import PluginRegistry, StrategyInfo
from perfopt.plugin.strategy import Proposal
from perfopt.rules import RuleSources

Status = Literal["ok", "declined", "failed", "timed_out", "crashed", "memory", "set_aside"]


class StrategyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one strategy.

    Attributes:
        status: "ok" with a proposal and evidence, "declined" with declined, all others with an error;
            "set_aside" did not run because its plugin failed several times in a row.
        proposal: after the rules.
        rules: what rules did, in order.
        conditions: what rules ask of whoever applies it.
        replays: what was proposed at each window of the evidence, in its order, after the rules and without
            texts; None where it was declined.
        error: one sentence on what went wrong.
        models: kinds of the models that the strategy read.
    """

    status: Status
    proposal: Proposal | None = None
    evidence: Evidence | None = None
    rules: tuple[FiredRule, ...] = ()
    conditions: ApplyConditions = ApplyConditions()
    replays: tuple[Proposal | None, ...] = ()
    declined: Declined | None = None
    error: str | None = None
    models: tuple[str, ...] = ()


class MergeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of merging: a result, or an error that follows "Merging the proposals"."""

    result: AnalysisResult | None = None
    error: str | None = None


class SetupRequest(msgspec.Struct, frozen=True):
    """First message to a worker: what to load, as in `load_plugins`, and what every analysis uses.

    Attributes:
        disabled, only: as in `load_plugins`.
        models: of every context.
        rules: that proposals pass; without them only what is installed is asked for.
        forecasters: names of those that the user chose.
        forecasters_weighted: whether they are weighted by their loss on the past of a series.
        settings: name of a plugin to its effective settings.
    """

    disabled: tuple[str, ...] = ()
    only: frozenset[tuple[str, str]] | None = None
    models: dict[str, bytes] = {}
    rules: RuleSources | None = None
    forecasters: tuple[str, ...] = ()
    forecasters_weighted: bool = False
    settings: dict[str, dict[str, Any]] = {}


class SubjectRequest(msgspec.Struct, frozen=True):
    """What the next runs are about: a pickled `AnalysisContext` without forecasts and models."""

    context: bytes


class RunRequest(msgspec.Struct, frozen=True):
    """Run one strategy on the subject; without a key, forecast for the user.

    Attributes:
        key: of the strategy.
        deadline_seconds: after which the parent kills the worker; the worker ends itself a little later,
            should the parent be gone by then.
        backtested: whether its proposal is backtested; without, only what it proposes is of interest.
    """

    key: str | None
    deadline_seconds: float
    backtested: bool = True


Predictions = dict[str, PredictionSeries]


@dataclass(frozen=True)
class StrategyAnswers:
    """What one task gave.

    Attributes:
        outcomes: one a strategy, in the order asked.
        predictions: the forecasts, where they were asked for and could be made.
        predictions_error: why they could not be made.
        models: kind to SHA-256 of the models that the contexts held.
    """

    outcomes: tuple[StrategyOutcome, ...]
    predictions: Predictions | None = None
    predictions_error: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)


def _plain(value: Any) -> Any:
    """Turns NumPy values into plain ones: strategies compute with them and may leave some in a result."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a plain value")


@dataclass(frozen=True)
class MergeRequest:
    """Merge the proposals on the subject and rank the result; the arguments are those of `assemble`."""

    types: tuple[OptimizationType, ...]
    infos: tuple[StrategyInfo, ...]
    answers: StrategyAnswers
    warnings: tuple[AnalysisWarning, ...]
    no_strategy: str
    plan_record: StrategyRecord | None
    by_itself: bool
    deadline_seconds: float


@dataclass(frozen=True)
class CheckSettings:
    """Check the settings of one plugin.

    Attributes:
        plugin: its name.
        values: as written, with `SettingsFile` as plain data in place of paths.
        document: where they stand, for errors.
    """

    plugin: str
    values: dict[str, Any]
    document: YamlDocument


class CheckedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What came of checking settings: effective values as plain data, or an error."""

    values: dict[str, Any] = {}
    error: str | None = None
    field: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class CheckModel:
    """Say which of some kinds of models content is of, tried in order."""

    content: bytes
    kinds: tuple[str, ...]
    deadline_seconds: float


class CheckedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The kind and the card of a model's content, or an error of one sentence and its remedy."""

    kind: str = ""
    card: dict[str, Any] = {}
    error: str | None = None
    remedy: str | None = None


Request = SetupRequest | SubjectRequest | RunRequest | MergeRequest | CheckSettings | CheckModel
_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_outcome = msgspec.msgpack.Decoder(StrategyOutcome)
_registry = msgspec.msgpack.Decoder(PluginRegistry)
_merge = msgspec.msgpack.Decoder(MergeAnswer)
_settings = msgspec.msgpack.Decoder(CheckedSettings)
_predictions = msgspec.msgpack.Decoder(Predictions)
_model = msgspec.msgpack.Decoder(CheckedModel)


def encode(answer: Any) -> bytes:
    """Encodes an answer; raises TypeError for what msgspec does not know."""
    return _encoder.encode(answer)


def decode_outcome(data: bytes) -> StrategyOutcome:
    """Decodes an outcome; raises msgspec.ValidationError where a value has the wrong type."""
    return _outcome.decode(data)


def decode_registry(data: bytes) -> PluginRegistry:
    """Decodes what a worker loaded."""
    return _registry.decode(data)


def decode_merge(data: bytes) -> MergeAnswer:
    """Decodes what came of merging; raises msgspec.MsgspecError where it can't be read."""
    return _merge.decode(data)


def decode_settings(data: bytes) -> CheckedSettings:
    """Decodes what came of checking settings; raises msgspec.MsgspecError where it can't be read."""
    return _settings.decode(data)


def decode_model(data: bytes) -> CheckedModel:
    """Decodes what came of checking a model; raises msgspec.MsgspecError where it can't be read."""
    return _model.decode(data)


def decode_predictions(data: bytes) -> Predictions:
    """Decodes forecasts by "container/metric"."""
    return _predictions.decode(data)


def encode_request(request: Request) -> bytes:
    """Encodes a request to a worker."""
    return pickle.dumps(request, pickle.HIGHEST_PROTOCOL)


def decode_request(data: bytes) -> Request:
    """Decodes a request, in the worker."""
    request: Request = pickle.loads(data)  # noqa: S301  from the parent that started this process
    return request
