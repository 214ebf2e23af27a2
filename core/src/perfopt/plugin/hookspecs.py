"""The hooks of a perfopt plugin. They only register; no work is done inside them.

A plugin is a module or object named by an entry point in the group `perfopt.plugins`.
"""

from pathlib import Path

import msgspec
import pluggy

from perfopt.plugin.forecasting import Forecaster
from perfopt.plugin.models import ModelKind
from perfopt.plugin.strategy import Strategy

ENTRY_POINT_GROUP = "perfopt.plugins"
PROJECT = "perfopt"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class PluginSpec:
    """All hooks; each is optional for a plugin, and an unknown one is an error."""

    @hookspec
    def perfopt_strategies(self) -> list[Strategy]:  # type: ignore[empty-body]  # a specification
        """Returns the strategies this plugin brings: stateless, picklable objects."""

    @hookspec
    def perfopt_rule_packs(self) -> list[Path]:  # type: ignore[empty-body]  # a specification
        """Returns the files of the rule packs this plugin brings (docs/reference/rules.md)."""

    @hookspec
    def perfopt_models(self) -> list[ModelKind]:  # type: ignore[empty-body]  # a specification
        """Returns the kinds of models this plugin brings: how each is read, checked and trained."""

    @hookspec(firstresult=True)
    def perfopt_settings(self) -> type[msgspec.Struct]:  # type: ignore[empty-body]  # a specification
        """Returns the type of this plugin's settings: a frozen msgspec struct with defaults for all fields.

        Users set them as `plugins.<plugin>.<field>` in the configuration file, by a variable of the
        environment or by `--set plugin.field=value`. Strategies read them with `AnalysisContext.settings_as`.
        """

    @hookspec
    def perfopt_forecasters(self) -> list[Forecaster]:  # type: ignore[empty-body]  # a specification
        """Returns the forecasters this plugin brings: stateless, picklable objects."""
