"""Checks that what a plugin calls a kind of model is one."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from perfopt.metrics.catalogue import METRICS
from perfopt.plugin.models import ModelKind, Trainer

_NAME = re.compile(r"[a-z0-9_-]+")
_ATTRIBUTES = ("kind", "description", "trainer", "load", "check")


class ModelKindError(Exception):
    """A plugin brought something that is no kind of model; the message is one sentence for its author."""


def check_kinds(brought: Iterable[object]) -> tuple[ModelKind, ...]:
    """Returns the kinds of models of one plugin, sorted by name.

    Raises:
        ModelKindError: one of them breaks the protocol, or two have the same name.
    """
    checked: dict[str, ModelKind] = {}
    for kind in brought:
        problem = kind_problem(kind)
        if problem is not None:
            raise ModelKindError(problem)
        assert isinstance(kind, ModelKind)
        if kind.kind in checked:
            raise ModelKindError(f"It brings two kinds of models named {kind.kind!r}.")
        checked[kind.kind] = kind
    return tuple(checked[name] for name in sorted(checked))


def kind_problem(kind: Any) -> str | None:
    """Returns one sentence on how an object breaks the ModelKind protocol, or None."""
    label = f"The kind of model {getattr(kind, 'kind', type(kind).__name__)!r}"
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(kind, attribute)]
    if missing:
        return f"{label} lacks {', '.join(missing)}."
    if not isinstance(kind.kind, str) or not _NAME.fullmatch(kind.kind):
        return f"{label} has a name that is not of the form [a-z0-9_-]+."
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
