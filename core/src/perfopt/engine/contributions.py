"""What one plugin brings: its hooks are called and what they return is checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pluggy

from perfopt.config.describe import settings_problem
from perfopt.engine.brought import ContributionError
from perfopt.engine.forecasters import check_forecasters
from perfopt.engine.kinds import check_kinds
from perfopt.engine.strategies import check_strategies
from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.hookspecs import PROJECT, PluginSpec
from perfopt.plugin.models import ModelKind
from perfopt.plugin.strategy import Strategy
from perfopt.rules import check_pack

_LISTS = {
    "perfopt_strategies": "strategies",
    "perfopt_rule_packs": "paths",
    "perfopt_models": "kinds of models",
    "perfopt_forecasters": "forecasters",
}


@dataclass(frozen=True)
class PluginContributions:
    """What one plugin brings.

    Attributes:
        strategies: checked.
        packs: name of a rule pack to its file.
        kinds: of models.
        forecasters: checked.
        settings: the type of its settings; None where nothing can be set.
    """

    strategies: tuple[Strategy, ...] = ()
    packs: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[ModelKind, ...] = ()
    forecasters: tuple[Forecaster, ...] = ()
    settings: type[msgspec.Struct] | None = None

    @property
    def pack_files(self) -> tuple[str, ...]:
        """The files of its rule packs."""
        return tuple(self.packs.values())


def load_strategies(point: EntryPoint) -> tuple[Strategy, ...]:
    """Imports one plugin into this process and returns its strategies, for tools of its author.

    Raises:
        ContributionError: it is no plugin, or brings something that is no strategy.
        BaseException: whatever its import raises.
    """
    return bring(point).strategies


def bring(point: EntryPoint) -> PluginContributions:
    """Imports one plugin into this process and returns what it brings.

    It has a plugin manager of its own, so that no other plugin can stop it.

    Raises:
        ContributionError: it is no plugin, or what it brings is wrong.
        BaseException: whatever its import raises.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PluginSpec)
    plugin = point.load()
    manager.register(plugin, point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ContributionError(f"It implements a hook that perfopt does not have: {error}") from error
    hooks = tuple(getattr(manager.hook, name) for name in _LISTS)
    if not any(hook.get_hookimpls() for hook in (*hooks, manager.hook.perfopt_settings)):
        raise ContributionError(
            "It implements no hook of perfopt; mark a function with @perfopt.plugin.hookimpl."
        )
    strategies, packs, kinds, forecasters = (
        [one for result in hook() for one in _listed(hook.name, result)] for hook in hooks
    )
    return PluginContributions(
        check_strategies(strategies),
        _packs(packs),
        check_kinds(kinds),
        check_forecasters(forecasters),
        _settings(manager),
    )


def _settings(manager: pluggy.PluginManager) -> type[msgspec.Struct] | None:
    if not manager.hook.perfopt_settings.get_hookimpls():
        return None
    settings: type[msgspec.Struct] = manager.hook.perfopt_settings()
    problem = settings_problem(settings)
    if problem is not None:
        raise ContributionError(problem)
    return settings


def _listed(hook: str, result: object) -> Iterable[object]:
    if not isinstance(result, list | tuple):
        kind = type(result).__name__
        raise ContributionError(f"{hook} returned {kind}; it returns a list of {_LISTS[hook]}.")
    return result


def _packs(files: Iterable[object]) -> dict[str, str]:
    """Checks the rule packs of a plugin; returns name to file."""
    names: dict[str, str] = {}
    for file in files:
        if not isinstance(file, Path):
            raise ContributionError(f"perfopt_rule_packs returned {file!r}; it returns a list of paths.")
        pack, problems = check_pack(file)
        if pack is None:
            raise ContributionError(f"A rule pack is wrong: {problems[0]}")
        if pack.name in names:
            raise ContributionError(f"It brings two rule packs named {pack.name!r}.")
        names[pack.name] = str(file)
    return names
