"""Finds plugins by their entry points and takes in their strategies, one plugin at a time.

A plugin that is broken costs itself only and is shown with what is wrong with it: bare pluggy would
lose all plugins to one failing import and drop a second entry point of the same name in silence.
"""

from collections.abc import Collection, Mapping

import msgspec

from perfopt.engine.brought import ContributionError
from perfopt.engine.candidates import PluginCandidate, candidates, unmet_requirement
from perfopt.engine.contributions import PluginContributions, bring
from perfopt.engine.registry import LoadedRegistry, ModelKindInfo, PluginInfo, PluginStatus, StrategyInfo
from perfopt.plugin.forecasting import Forecaster, metric_of
from perfopt.plugin.models import ModelKind
from perfopt.plugin.strategy import Strategy


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
    unmet = unmet_requirement(candidate.distribution)
    if unmet is not None:
        return candidate.info(PluginStatus.FAILED, unmet), PluginContributions()
    try:
        contributions = bring(candidate.point)
    except ContributionError as error:
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
        forecasts=tuple(metric_of(forecast) for forecast in strategy.forecasts),
        prior=strategy.prior,
        holds=tuple(getattr(strategy, "holds", ())),
    )
