"""The engine of a backtest: the installed strategies, or those of some plugins."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from perfopt.config import Config
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.engine.allowlist import left_out
from perfopt.engine.breaker import PluginCircuitBreaker
from perfopt.engine.registry import PluginRegistry, PluginStatus
from perfopt.errors import InvalidInputError, NotFoundError


def backtest_registry(
    config: Config,
    plugins: Sequence[str] = (),
    types: Sequence[OptimizationType] = tuple(OptimizationType),
) -> PluginRegistry:
    """Returns what is installed, with the strategies of the plugins named; with all where none is named.

    Raises:
        NotFoundError: a name is no plugin that loaded; lists them.
        InvalidInputError: none of those named brings a strategy of the types.
    """
    registry = probe_plugins(left_out(config.engine))
    loaded = tuple(info.name for info in registry.plugins if info.status is PluginStatus.LOADED)
    for name in plugins:
        if name not in loaded:
            raise NotFoundError(
                f"There is no plugin {name!r} that loaded.",
                field="plugin",
                remedy=f"Loaded: {', '.join(loaded) or 'none'}; `perfopt plugin list` says more.",
                candidates=loaded,
            )
    if not plugins:
        return registry
    chosen = replace(
        registry, strategies=tuple(info for info in registry.strategies if info.plugin in plugins)
    )
    if not chosen.of_types(types):
        raise InvalidInputError(
            f"{', '.join(plugins)} has no strategy of {', '.join(types)}.",
            field="plugin",
            remedy="Name another plugin or other --types.",
        )
    return chosen


def open_engine(registry: PluginRegistry, config: Config) -> Engine:
    """Returns an engine that runs every strategy at every origin.

    None is set aside after failures in a row: what a row is would depend on the number of processes.
    """
    return Engine(registry, config, PluginCircuitBreaker(failures=sys.maxsize))
