"""The engine of a backtest: the installed strategies, or those of some plugins."""

import sys
from collections.abc import Sequence

from perfopt.backtest.walk import TYPE
from perfopt.config import Config
from perfopt.engine import Engine, probe_plugins
from perfopt.engine.breaker import Breaker
from perfopt.engine.registry import PluginStatus, Registry
from perfopt.errors import InvalidInputError, NotFoundError


def backtest_registry(config: Config, plugins: Sequence[str] = ()) -> Registry:
    """Returns what is installed, cut down to the plugins named; all where none is named.

    Raises:
        NotFoundError: a name is no plugin that loaded; lists them.
        InvalidInputError: none of those named brings a strategy that a replay can score.
    """
    found = probe_plugins(config.engine.disabled())
    loaded = tuple(info.name for info in found.plugins if info.status is PluginStatus.LOADED)
    for name in plugins:
        if name not in loaded:
            raise NotFoundError(
                f"There is no plugin {name!r} that loaded.",
                field="plugin",
                remedy=f"Loaded: {', '.join(loaded) or 'none'}; `perfopt plugin list` says more.",
                candidates=loaded,
            )
    if not plugins:
        return found
    chosen = Registry(
        tuple(info for info in found.plugins if info.name in plugins),
        tuple(info for info in found.strategies if info.plugin in plugins),
    )
    if not scorable(chosen):
        raise InvalidInputError(
            f"{', '.join(plugins)} makes no {TYPE}, and a backtest can score nothing else.",
            field="plugin",
            remedy="Name another plugin.",
        )
    return chosen


def scorable(registry: Registry) -> bool:
    """Tells whether any strategy recommends what a replay can score."""
    return bool(registry.of_types((TYPE,)))


def open_engine(registry: Registry, config: Config) -> Engine:
    """Returns an engine that tries every strategy at every cut.

    None is set aside after failures in a row: what a row is would depend on the number of processes.
    """
    return Engine(registry, config, Breaker(failures=sys.maxsize))
