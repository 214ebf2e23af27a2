"""Finds plugins by their entry points and takes in their strategies, one plugin at a time.

A plugin that is broken costs itself only and is shown with what is wrong with it: bare pluggy would
lose all plugins to one failing import and drop a second entry point of the same name in silence.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution, EntryPoint, distributions, version

import msgspec
import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from perfopt.domain.enums import OptimizationType
from perfopt.engine.strategies import StrategyError, check_strategies
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP, PROJECT, PluginSpec
from perfopt.plugin.strategy import Prior, Strategy


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
        status: whether it takes part.
        error: one sentence on why it failed to load, or None.
    """

    name: str
    distribution: str
    version: str
    types: tuple[OptimizationType, ...] = ()
    status: PluginStatus = PluginStatus.LOADED
    error: str | None = None


class StrategyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs to know of a strategy without importing its plugin.

    Attributes:
        plugin: name of the plugin's entry point.
        name: of the strategy, unique within its plugin.
        version: of the plugin's distribution.
        metrics, forecasts: names from the metric catalogue it reads, and wants forecast.
        prior: what is believed of it before a service's own record.
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


@dataclass(frozen=True)
class Registry:
    """The plugins found and the strategies they bring, sorted by name. Plain data, no plugin imported."""

    plugins: tuple[PluginInfo, ...]
    strategies: tuple[StrategyInfo, ...]

    def of_types(self, types: Collection[OptimizationType]) -> tuple[StrategyInfo, ...]:
        """Returns the strategies of these types, in the registry's order."""
        return tuple(info for info in self.strategies if info.optimization_type in types)


@dataclass(frozen=True)
class LoadedRegistry(Registry):
    """A registry in a process that imported the plugins: `instances` by strategy key."""

    instances: Mapping[str, Strategy]


@dataclass(frozen=True)
class Candidate:
    """An entry point of the plugin group and the distribution that declares it."""

    point: EntryPoint
    distribution: Distribution

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from all others: the plugin's name and its distribution."""
        return self.point.name, self.distribution.name

    def info(
        self, status: PluginStatus, error: str | None = None, types: Iterable[OptimizationType] = ()
    ) -> PluginInfo:
        """Describes it."""
        return PluginInfo(
            name=self.point.name,
            distribution=self.distribution.name,
            version=self.distribution.version,
            types=tuple(sorted(set(types))),
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
    taken: dict[str, str] = {}
    for candidate in candidates():
        if only is not None and candidate.identity not in only:
            continue
        info, brought = _load(candidate, disabled, taken)
        taken.setdefault(candidate.point.name, candidate.distribution.name)
        plugins.append(info)
        for strategy in brought:
            described = _describe(strategy, info)
            strategies.append(described)
            instances[described.key] = strategy
    strategies.sort(key=lambda info: (info.plugin, info.name))
    return LoadedRegistry(tuple(plugins), tuple(strategies), instances)


def candidates() -> list[Candidate]:
    """Returns the entry points of all installed distributions, sorted by name, then distribution."""
    found = {(*candidate.identity, candidate.point.value): candidate for candidate in _walk()}
    return [found[key] for key in sorted(found)]


def _walk() -> Iterator[Candidate]:
    seen: set[str] = set()
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if not name or canonicalize_name(name) in seen:
            continue  # a broken dist-info, or one shadowed by an earlier path entry
        seen.add(canonicalize_name(name))
        for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
            yield Candidate(point, distribution)


def _load(
    candidate: Candidate, disabled: Collection[str], taken: Mapping[str, str]
) -> tuple[PluginInfo, tuple[Strategy, ...]]:
    name = candidate.point.name
    if name in disabled:
        return candidate.info(PluginStatus.DISABLED), ()
    if name in taken:
        error = f"The name {name!r} is already taken by the distribution {taken[name]}."
        return candidate.info(PluginStatus.FAILED, error), ()
    unmet = _unmet_requirement(candidate.distribution)
    if unmet is not None:
        return candidate.info(PluginStatus.FAILED, unmet), ()
    try:
        strategies = _strategies(candidate)
    except StrategyError as error:
        return candidate.info(PluginStatus.FAILED, str(error)), ()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        text = f"Loading {candidate.point.value} raised {type(error).__name__}: {error}"
        return candidate.info(PluginStatus.FAILED, text), ()
    return candidate.info(PluginStatus.LOADED, None, (s.optimization_type for s in strategies)), strategies


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


def _strategies(candidate: Candidate) -> tuple[Strategy, ...]:
    """Imports one plugin and asks it for its strategies; a manager each, so that none can stop another."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PluginSpec)
    plugin = candidate.point.load()
    manager.register(plugin, candidate.point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise StrategyError(f"It implements a hook that perfopt does not have: {error}") from None
    if not manager.hook.perfopt_strategies.get_hookimpls():
        raise StrategyError(
            "It implements no hook of perfopt; mark a function with @perfopt.plugin.hookimpl."
        )
    brought = [strategy for result in manager.hook.perfopt_strategies() for strategy in _listed(result)]
    return check_strategies(brought)


def _listed(result: object) -> Iterable[object]:
    if not isinstance(result, list | tuple):
        kind = type(result).__name__
        raise StrategyError(f"perfopt_strategies returned {kind}; it returns a list of strategies.")
    return result


def _describe(strategy: Strategy, info: PluginInfo) -> StrategyInfo:
    return StrategyInfo(
        plugin=info.name,
        name=strategy.name,
        version=info.version,
        optimization_type=strategy.optimization_type,
        metrics=tuple(strategy.metrics),
        forecasts=tuple(strategy.forecasts),
        prior=strategy.prior,
    )
