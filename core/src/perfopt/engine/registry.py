"""The plugins that are installed and what they bring, as plain data that any process may hold."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from perfopt.config.describe import SettingField
from perfopt.domain.enums import OptimizationType
from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.models import ModelKind
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
        holds: quantities of containers that other types lower only where it does not abstain.
    """

    plugin: str
    name: str
    version: str
    optimization_type: OptimizationType
    metrics: tuple[str, ...]
    forecasts: tuple[str, ...]
    prior: Prior
    holds: tuple[str, ...] = ()

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
