"""Checks that what a plugin calls a kind of model is one."""

from collections.abc import Iterable
from typing import Any

import msgspec

from perfopt.engine.brought import ContributionCheck
from perfopt.metrics.catalogue import METRICS
from perfopt.plugin.models import ModelKind, Trainer


def check_kinds(brought: Iterable[object]) -> tuple[ModelKind, ...]:
    """Returns the kinds of models of one plugin, sorted by name.

    Raises:
        ContributionError: one of them breaks the protocol, or two have the same name.
    """
    return _CHECK.checked(brought)


def kind_problem(kind: object) -> str | None:
    """Returns one sentence on how an object breaks the ModelKind protocol, or None."""
    return _CHECK.problem(kind)


def _own_problem(kind: Any, label: str) -> str | None:
    if not isinstance(kind.description, str):
        return f"{label} needs a description that is text."
    return None if kind.trainer is None else _trainer_problem(kind.trainer, label)


def _trainer_problem(trainer: Any, label: str) -> str | None:
    if not isinstance(trainer, Trainer):
        return f"{label} has a trainer that lacks metrics, modules, options, examples or train."
    unknown = sorted(set(trainer.metrics) - set(METRICS))
    if unknown:
        return f"{label} trains on metrics that the metric catalogue does not have: {', '.join(unknown)}."
    try:
        if trainer.options is not None:
            msgspec.convert({}, trainer.options)
    except (TypeError, msgspec.ValidationError) as error:
        return f"{label} has training options that are no struct in which all have defaults: {error}"
    return None


_CHECK = ContributionCheck[ModelKind](
    "kind of model",
    "kinds of models",
    "kind",
    ("kind", "description", "trainer", "load", "check"),
    _own_problem,
)
