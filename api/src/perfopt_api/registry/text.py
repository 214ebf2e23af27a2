"""The registry as a person reads it."""

from collections.abc import Sequence
from datetime import datetime

from perfopt.backtest import ConfidenceInterval
from perfopt.cli.output.render import table
from perfopt.domain.period import format_instant
from perfopt_api.registry.replay import ReplayResult
from perfopt_api.store.models import RegisteredModel

_FIGURES = (
    ("made", "made"),
    ("accuracy", "accuracy"),
    ("abstention", "abstention"),
    ("cpu waste, median", "cpu_waste_median"),
    ("memory waste, median", "memory_waste_median"),
)


def models_table(models: Sequence[RegisteredModel]) -> str:
    """Returns one line a model."""
    if not models:
        return "No model is registered; `perfopt model register FILE` adds one.\n"
    header = ("KIND", "VERSION", "STATUS", "NAME", "TRAINED UNTIL", "SHA256", "REGISTERED", "PROMOTED")
    rows = [
        (
            model.kind,
            str(model.version),
            model.status,
            str(model.card.get("name", "")),
            str(model.card.get("trained_until") or "-"),
            model.sha256[:12],
            _by(model.created_at, model.created_by),
            _by(model.promoted_at, model.promoted_by),
        )
        for model in models
    ]
    return table(header, rows)


def _by(at: datetime | None, who: str | None) -> str:
    return "-" if at is None else f"{format_instant(at)} by {who}"


def replay_table(replay: ReplayResult) -> str:
    """Returns the figures of a replay, the change of each that is decided by, and the verdict."""
    comparison = replay.comparison
    old = "configured" if replay.incumbent_version is None else f"version {replay.incumbent_version}"
    rows = [
        (label, _figure(getattr(comparison.incumbent, name)), _figure(getattr(comparison.candidate, name)))
        for label, name in _FIGURES
    ]
    return (
        f"{comparison.windows} windows of {comparison.services} services of {replay.source}, {replay.cuts}"
        f" instants from {format_instant(replay.first_cut)} to {format_instant(replay.last_cut)},"
        f" {replay.history} of history, scored on {replay.validity}\n"
        + table(("", old, "candidate"), rows)
        + f"change of accuracy    {_interval(comparison.accuracy_change)}\n"
        f"change of the granted {_interval(comparison.granted_change)}\n"
        f"change of abstention  {_interval(comparison.abstention_change)}\n"
        f"{comparison.verdict}\n"
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1%}"


def _interval(interval: ConfidenceInterval | None) -> str:
    if interval is None:
        return "-"
    bounds = "" if interval.low is None else f"  ({interval.low:+.1%} to {interval.high:+.1%})"
    return f"{interval.value:+.1%}{bounds}"
