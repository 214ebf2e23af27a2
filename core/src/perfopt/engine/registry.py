"""Finds plugins by their entry points and takes in their strategies, one plugin at a time.

A plugin that is broken costs itself only and is shown with what is wrong with it: bare pluggy would
lose all plugins to one failing import and drop a second entry point of the same name in silence.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import Distribution, EntryPoint, distribution, distributions, version
from pathlib import Path

import msgspec
import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from perfopt.config.describe import SettingField, describe, settings_problem
from perfopt.domain.enums import OptimizationType
from perfopt.engine.forecasters import ForecasterError, check_forecasters
from perfopt.engine.kinds import ModelKindError, check_kinds
from perfopt.engine.strategies import StrategyError, check_strategies
from perfopt.plugin.forecasting import Forecaster, metric_of
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP, PROJECT, PluginSpec
from perfopt.plugin.models import ModelKind
from perfopt.plugin.strategy import Prior, Strategy
from perfopt.rules import check_pack

_LISTS = {
    "perfopt_strategies": "strategies",
    "perfopt_rule_packs": "paths",
    "perfopt_models": "kinds of models",
    "perfopt_forecasters": "forecasters",
}
# What perfopt brings itself, registered as what is installed is: an entry point of its own distribution.
_BUILT_IN = EntryPoint(PROJECT, "perfopt.engine.builtin", ENTRY_POINT_GROUP)


class PluginStatus(StrEnum):
    """Whether a plugin takes part."""

    LOADED = "loaded"
    FAILED = "failed"
    DISABLED = "disabled"


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin as `perfopt plugin list` and the API show it.

    Attributes:
        name: of its entry point.
        distribution, version: the installed distribution that brings it.
        types: what its strategies propose, sorted.
        rule_packs: names of the rule packs it brings.
        models: names of the kinds of models it brings.
        forecasters: names of the forecasters it brings.
        settings: what users may set of it.
        status: whether it takes part.
        error: one sentence on why it failed to load, or None.
    """

    name: str
    distribution: str
    version: str
    types: tuple[OptimizationType, ...] = ()
    rule_packs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    forecasters: tuple[str, ...] = ()
    settings: tuple[SettingField, ...] = ()
    status: PluginStatus = PluginStatus.LOADED
    error: str | None = None


class StrategyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs to know of a strategy without importing its plugin.

    Attributes:
        plugin: name of the plugin's entry point.
        name: of the strategy, unique within its plugin.
        version: of the plugin's distribution.
        metrics, forecasts: names from the metric catalogue that it reads, and of which it wants forecasts.
        prior: accuracy before a service's own record.
    """

    plugin: str
    name: str
    version: str
    optimization_type: OptimizationType
    metrics: tuple[str, ...]
    forecasts: tuple[str, ...]
    prior: Prior

    @property
    def key(self) -> str:
        """The name it goes by in results: `plugin/name`."""
        return f"{self.plugin}/{self.name}"


class ModelKindInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs to know of a kind of model without importing its plugin.

    Attributes:
        kind: its name.
        plugin: name of the plugin that brings it.
        description: what it is for.
        trainable: whether `perfopt train` can train one.
    """

    kind: str
    plugin: str
    description: str
    trainable: bool


@dataclass(frozen=True)
class PluginRegistry:
    """The plugins found and what they bring, sorted by name. Plain data, no plugin imported.

    Attributes:
        pack_files: the files of the rule packs they bring.
        models: the kinds of models they bring.
    """

    plugins: tuple[PluginInfo, ...]
    strategies: tuple[StrategyInfo, ...]
    pack_files: tuple[str, ...] = ()
    models: tuple[ModelKindInfo, ...] = ()

    def of_types(self, types: Collection[OptimizationType]) -> tuple[StrategyInfo, ...]:
        """Returns the strategies of these types, in the registry's order."""
        return tuple(info for info in self.strategies if info.optimization_type in types)


@dataclass(frozen=True)
class LoadedRegistry(PluginRegistry):
    """A registry in a process that imported the plugins.

    Attributes:
        instances: strategies by key.
        kinds: of models, by name.
        forecasters: by name.
        settings: name of a plugin to the type of its settings.
    """

    instances: Mapping[str, Strategy] = field(default_factory=dict)
    kinds: Mapping[str, ModelKind] = field(default_factory=dict)
    forecasters: Mapping[str, Forecaster] = field(default_factory=dict)
    settings: Mapping[str, type[msgspec.Struct]] = field(default_factory=dict)

    @property
    def plain(self) -> PluginRegistry:
        """What another process is told of it."""
        return PluginRegistry(self.plugins, self.strategies, self.pack_files, self.models)


@dataclass(frozen=True)
class PluginCandidate:
    """An entry point of the plugin group and the distribution that declares it."""

    point: EntryPoint
    distribution: Distribution

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from all others: the plugin's name and its distribution."""
        return self.point.name, self.distribution.name

    def info(
        self,
        status: PluginStatus,
        error: str | None = None,
        contributions: "PluginContributions | None" = None,
    ) -> PluginInfo:
        """Describes it."""
        contributions = contributions if contributions is not None else PluginContributions()
        return PluginInfo(
            name=self.point.name,
            distribution=self.distribution.name,
            version=self.distribution.version,
            types=tuple(sorted({strategy.optimization_type for strategy in contributions.strategies})),
            rule_packs=tuple(sorted(contributions.packs)),
            models=tuple(kind.kind for kind in contributions.kinds),
            forecasters=tuple(forecaster.name for forecaster in contributions.forecasters),
            settings=() if contributions.settings is None else describe(contributions.settings),
            status=status,
            error=error,
        )


def load_plugins(
    disabled: Collection[str] = (), only: Collection[tuple[str, str]] | None = None
) -> LoadedRegistry:
    """Imports the installed plugins into this process. A hanging or exiting import takes it along.

    Callers outside a killable process use `perfopt.engine.probe.probe_plugins`.

    Args:
        disabled: names of plugins that are listed and not imported.
        only: (name, distribution) of the plugins to look at; None is all.
    """
    plugins: list[PluginInfo] = []
    strategies: list[StrategyInfo] = []
    instances: dict[str, Strategy] = {}
    files: list[str] = []
    models: list[ModelKindInfo] = []
    kinds: dict[str, ModelKind] = {}
    forecasters: dict[str, Forecaster] = {}
    settings: dict[str, type[msgspec.Struct]] = {}
    taken: dict[str, str] = {}
    for candidate in candidates():
        if only is not None and candidate.identity not in only:
            continue
        info, contributions = _load(candidate, disabled, taken, kinds, forecasters)
        taken.setdefault(candidate.point.name, candidate.distribution.name)
        plugins.append(info)
        files += contributions.pack_files
        models += (_described_kind(kind, info) for kind in contributions.kinds)
        kinds |= {kind.kind: kind for kind in contributions.kinds}
        forecasters |= {forecaster.name: forecaster for forecaster in contributions.forecasters}
        if contributions.settings is not None:
            settings[info.name] = contributions.settings
        for strategy in contributions.strategies:
            described = _describe(strategy, info)
            strategies.append(described)
            instances[described.key] = strategy
    strategies.sort(key=lambda info: (info.plugin, info.name))
    models.sort(key=lambda info: info.kind)
    return LoadedRegistry(
        tuple(plugins),
        tuple(strategies),
        tuple(files),
        tuple(models),
        instances=instances,
        kinds=kinds,
        forecasters=forecasters,
        settings=settings,
    )


def candidates() -> list[PluginCandidate]:
    """Returns the entry points of perfopt itself, then of what is installed by name, then distribution."""
    found = {(*candidate.identity, candidate.point.value): candidate for candidate in _walk()}
    return [PluginCandidate(_BUILT_IN, distribution(PROJECT)), *(found[key] for key in sorted(found))]


def _walk() -> Iterator[PluginCandidate]:
    seen: set[str] = set()
    for installed in distributions():
        name = installed.metadata["Name"]
        if not name or canonicalize_name(name) in seen:
            continue  # a broken dist-info, or one shadowed by an earlier path entry
        seen.add(canonicalize_name(name))
        for point in installed.entry_points.select(group=ENTRY_POINT_GROUP):
            yield PluginCandidate(point, installed)


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


def _load(
    candidate: PluginCandidate,
    disabled: Collection[str],
    taken: Mapping[str, str],
    kinds: Collection[str],
    forecasters: Collection[str],
) -> tuple[PluginInfo, PluginContributions]:
    name = candidate.point.name
    if name in disabled:
        return candidate.info(PluginStatus.DISABLED), PluginContributions()
    if name in taken:
        error = f"The name {name!r} is already taken by the distribution {taken[name]}."
        return candidate.info(PluginStatus.FAILED, error), PluginContributions()
    unmet = _unmet_requirement(candidate.distribution)
    if unmet is not None:
        return candidate.info(PluginStatus.FAILED, unmet), PluginContributions()
    try:
        contributions = bring(candidate.point)
    except (StrategyError, ModelKindError, ForecasterError) as error:
        return candidate.info(PluginStatus.FAILED, str(error)), PluginContributions()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        text = f"Loading {candidate.point.value} raised {type(error).__name__}: {error}"
        return candidate.info(PluginStatus.FAILED, text), PluginContributions()
    twice = _taken_name(contributions, kinds, forecasters)
    if twice is not None:
        return candidate.info(PluginStatus.FAILED, twice), PluginContributions()
    return candidate.info(PluginStatus.LOADED, None, contributions), contributions


def _taken_name(
    contributions: PluginContributions, kinds: Collection[str], forecasters: Collection[str]
) -> str | None:
    """Returns a sentence on what another plugin already brings by the same name, or None."""
    for kind in contributions.kinds:
        if kind.kind in kinds:
            return f"Another plugin already brings a kind of model named {kind.kind!r}."
    for forecaster in contributions.forecasters:
        if forecaster.name in forecasters:
            return f"Another plugin already brings a forecaster named {forecaster.name!r}."
    return None


def _unmet_requirement(distribution: Distribution) -> str | None:
    """Checks the plugin's requirement on perfopt without importing it."""
    installed = version(PROJECT)
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) != PROJECT:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            return f"It requires perfopt{requirement.specifier}, and perfopt {installed} is installed."
    return None


def load_strategies(point: EntryPoint) -> tuple[Strategy, ...]:
    """Imports one plugin into this process and returns its strategies, for tools of its author.

    Raises:
        StrategyError: it is no plugin, or brings something that is no strategy.
        BaseException: whatever its import raises.
    """
    return bring(point).strategies


def bring(point: EntryPoint) -> PluginContributions:
    """Imports one plugin into this process and returns what it brings.

    It has a plugin manager of its own, so that no other plugin can stop it.

    Raises:
        StrategyError: it is no plugin, or what it brings is wrong.
        ModelKindError: a kind of model that it brings is wrong.
        BaseException: whatever its import raises.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PluginSpec)
    plugin = point.load()
    manager.register(plugin, point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise StrategyError(f"It implements a hook that perfopt does not have: {error}") from error
    hooks = tuple(getattr(manager.hook, name) for name in _LISTS)
    if not any(hook.get_hookimpls() for hook in (*hooks, manager.hook.perfopt_settings)):
        raise StrategyError(
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
    found: type[msgspec.Struct] = manager.hook.perfopt_settings()
    problem = settings_problem(found)
    if problem is not None:
        raise StrategyError(problem)
    return found


def _listed(hook: str, result: object) -> Iterable[object]:
    if not isinstance(result, list | tuple):
        kind = type(result).__name__
        raise StrategyError(f"{hook} returned {kind}; it returns a list of {_LISTS[hook]}.")
    return result


def _packs(files: Iterable[object]) -> dict[str, str]:
    """Checks the rule packs of a plugin; returns name to file."""
    found: dict[str, str] = {}
    for file in files:
        if not isinstance(file, Path):
            raise StrategyError(f"perfopt_rule_packs returned {file!r}; it returns a list of paths.")
        pack, problems = check_pack(file)
        if pack is None:
            raise StrategyError(f"A rule pack is wrong: {problems[0]}")
        if pack.name in found:
            raise StrategyError(f"It brings two rule packs named {pack.name!r}.")
        found[pack.name] = str(file)
    return found


def _described_kind(kind: ModelKind, info: PluginInfo) -> ModelKindInfo:
    return ModelKindInfo(
        kind=kind.kind,
        plugin=info.name,
        description=kind.description,
        trainable=kind.trainer is not None,
    )


def _describe(strategy: Strategy, info: PluginInfo) -> StrategyInfo:
    return StrategyInfo(
        plugin=info.name,
        name=strategy.name,
        version=info.version,
        optimization_type=strategy.optimization_type,
        metrics=tuple(strategy.metrics),
        forecasts=tuple(metric_of(wanted) for wanted in strategy.forecasts),
        prior=strategy.prior,
    )
