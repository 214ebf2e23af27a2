"""Finds strategies by what their author types, and runs one in this process with its errors as they come."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec

from perfopt.domain.recommendation import Declined
from perfopt.engine.candidates import candidates
from perfopt.engine.contributions import bring, load_strategies
from perfopt.engine.engine import Engine
from perfopt.engine.pipeline import read_only, with_forecasts
from perfopt.engine.proposals import checked
from perfopt.errors import NotFoundError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.hookspecs import ENTRY_POINT_GROUP
from perfopt.plugin.strategy import Proposal, Strategy


def find_strategies(text: str) -> dict[str, Strategy]:
    """Imports what is named and returns its strategies by key, `plugin/strategy`.

    Args:
        text: an installed plugin or its distribution ("pool-sizer"), one of its strategies
            ("pool-sizer/littles-law"), or what an entry point would name: a module ("pool_sizer"), a plugin
            object, or a class or instance of a strategy ("pool_sizer.strategy:PoolSizer"). The current
            directory can be imported from.

    Raises:
        NotFoundError: there is no such plugin, strategy or module.
        ContributionError: it is no plugin, or brings something that is no strategy.
        BaseException: whatever its import raises.
    """
    _import_from_here()
    name, _, strategy = text.partition("/")
    strategies = _strategies(name)
    selected = {key: one for key, one in strategies.items() if not strategy or one.name == strategy}
    if not selected:
        raise NotFoundError(
            f"{name} has no strategy {strategy or 'at all'}.",
            field="strategy",
            remedy=f"It has: {', '.join(strategies)}."
            if strategies
            else "Bring one by the hook perfopt_strategies.",
            candidates=tuple(strategies),
        )
    return selected


def find_forecasters(text: str) -> dict[str, Forecaster]:
    """Imports what `find_strategies` would and returns the forecasters that it brings, by key.

    Raises:
        BaseException: whatever its import raises.
    """
    _import_from_here()
    name, _, forecaster = text.partition("/")
    points = [one.point for one in candidates() if name in (one.point.name, one.distribution.name)]
    forecasters = {
        f"{point.name}/{one.name}": one
        for point in points or [EntryPoint(name, name, ENTRY_POINT_GROUP)]
        if points or _single(point) is None
        for one in bring(point).forecasters
    }
    return {key: one for key, one in forecasters.items() if not forecaster or one.name == forecaster}


def find_strategy(text: str) -> tuple[str, Strategy]:
    """Returns the one strategy that `find_strategies` finds, and its key.

    Raises:
        NotFoundError: there are several; lists them.
    """
    strategies = find_strategies(text)
    if len(strategies) > 1:
        raise NotFoundError(
            f"{text} has several strategies.",
            field="strategy",
            remedy=f"Name one of: {', '.join(strategies)}.",
            candidates=tuple(strategies),
        )
    return next(iter(strategies.items()))


def find_settings(text: str) -> dict[str, type[msgspec.Struct]]:
    """Returns the type of the settings of a plugin by the plugin's name; empty where it has none.

    Args:
        text: as for `find_strategies`; a class or instance of a strategy has no settings.

    Raises:
        NotFoundError: there is no such plugin or module.
        ContributionError: it is no plugin, or what it brings is wrong.
        BaseException: whatever its import raises.
    """
    _import_from_here()
    name = text.partition("/")[0]
    points = [one.point for one in candidates() if name in (one.point.name, one.distribution.name)]
    if not points:
        point = EntryPoint(name, name, ENTRY_POINT_GROUP)
        alone = _single(point) is not None or not hasattr(point.load(), "perfopt_settings")
        points = [] if alone else [point]
    structs = ((point.name, bring(point).settings) for point in points)
    return {plugin: settings for plugin, settings in structs if settings is not None}


def run_in_process(
    strategy: Strategy, plugin: str, snapshot: WorkloadSnapshot, validity: timedelta, engine: Engine
) -> Proposal | Declined:
    """Runs a strategy on a workload as an analysis does, without isolation, rules and backtest.

    Args:
        strategy: any; whatever it raises is raised.
        plugin: name of the plugin that brings it, whose settings it gets.
        snapshot: the history.
        validity: how long its proposal must hold.
        engine: holds the prices, calendars, models and settings.

    Raises:
        ProposalError: the result breaks the contract of proposals.
    """
    read_only(snapshot)
    context, _ = engine.context(snapshot, validity)
    context, _ = engine.rules_for(snapshot.workload).prepared(context)
    settings = engine.settings.values.get(plugin, {})
    context = with_forecasts(strategy, replace(context, models=engine.models, settings=settings))
    return checked(strategy.propose(context), strategy, context)


def _import_from_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _strategies(name: str) -> dict[str, Strategy]:
    installed = [one.point for one in candidates() if name in (one.point.name, one.distribution.name)]
    if installed:
        return {f"{p.name}/{s.name}": s for p in installed for s in load_strategies(p)}
    point = EntryPoint(name, name, ENTRY_POINT_GROUP)
    given = _single(point)
    strategies: Mapping[str, Strategy] = (
        {s.name: s for s in load_strategies(point)} if given is None else {given.name: given}
    )
    return {f"{name}/{key}": strategy for key, strategy in strategies.items()}


def _single(point: EntryPoint) -> Strategy | None:
    """Returns the strategy that an entry point names itself, as a class or an instance."""
    try:
        loaded = point.load()
    except ModuleNotFoundError as error:
        if error.name is None or not f"{point.module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        raise NotFoundError(
            f"There is no installed plugin and no module {point.module}.",
            field="plugin",
            remedy="`perfopt plugin list` shows what is installed.",
        ) from error
    if not hasattr(loaded, "propose"):
        return None
    strategy: Strategy = loaded() if isinstance(loaded, type) else loaded
    return strategy
