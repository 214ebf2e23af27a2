"""Finds what trains a kind of model, in this process: one command trains, and may take long."""

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Any

import msgspec

from perfopt.engine.loading import load_plugins
from perfopt.engine.probe import probe_plugins
from perfopt.errors import InvalidInputError, PerfoptError
from perfopt.plugin.models import ModelKind, Trainer


def load_kind(name: str, disabled: Collection[str] = ()) -> tuple[ModelKind, Trainer]:
    """Imports the plugin that brings a kind of model and returns the kind and what trains it.

    Args:
        name: of the kind.
        disabled: names of plugins that are not imported.

    Raises:
        InvalidInputError: no installed plugin brings such a kind, or it can't be trained.
    """
    registry = probe_plugins(disabled)
    known = {info.kind: info.plugin for info in registry.models if info.trainable}
    if name not in known:
        raise InvalidInputError(
            f"No installed plugin trains a kind of model called {name!r}.",
            field="what",
            remedy=f"Known: {', '.join(known)}.",
        )
    owner = next(info for info in registry.plugins if info.name == known[name] and name in info.models)
    loaded = load_plugins(disabled, {(owner.name, owner.distribution)})
    kind = loaded.kinds.get(name)
    if kind is None or kind.trainer is None:
        raise PerfoptError(
            f"The plugin {owner.name} could not be loaded to train: {loaded.plugins[0].error}",
            remedy=f"`perfopt plugin check {owner.name}` says more.",
        )
    return kind, kind.trainer


def require_modules(kind: str, modules: Sequence[str]) -> None:
    """Checks that what training imports is installed, without importing it: that takes seconds.

    Args:
        kind: of the model.
        modules: names of what is imported.

    Raises:
        PerfoptError: a module is missing.
    """
    missing = [name for name in modules if not _installed(name)]
    if missing:
        raise PerfoptError(
            f"Training a model of the kind {kind} needs {', '.join(missing)}, which is not installed.",
            remedy="Install it with `pip install perfopt[train]`.",
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a name that was blocked has no specification
        return False


def training_options(trainer: Trainer, given: Sequence[str]) -> Any:
    """Returns the options of a training.

    Args:
        trainer: declares them.
        given: each "name=value".

    Raises:
        InvalidInputError: there is no such option, or a value does not fit.
    """
    fields = () if trainer.options is None else trainer.options.__struct_fields__
    values: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in fields:
            remedy = f"Known: {', '.join(fields)}." if fields else "This kind has none."
            raise InvalidInputError(f"There is no option {text!r}.", field="--option", remedy=remedy)
        values[name] = value
    if trainer.options is None:
        return None
    try:
        return msgspec.convert(values, trainer.options, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(str(error), field="--option", remedy="Correct the value.") from error
