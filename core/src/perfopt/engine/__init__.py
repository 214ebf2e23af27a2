"""From a snapshot to ranked recommendations: plugin registry, isolation, pipeline. No network, no clock."""

from perfopt.engine.engine import Engine
from perfopt.engine.loading import load_plugins
from perfopt.engine.probe import probe_plugins
from perfopt.engine.registry import PluginInfo, PluginRegistry, StrategyInfo

__all__ = ["Engine", "PluginInfo", "PluginRegistry", "StrategyInfo", "load_plugins", "probe_plugins"]
