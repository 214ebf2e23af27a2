"""`perfopt plugin list`: what is installed, and why any of it failed to load."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import config_option, format_option, load

if TYPE_CHECKING:
    from perfopt.engine import PluginInfo


@click.command("list")
@config_option
@format_option("table", "json")
def list_plugins(config_file: Path | None, form: str) -> None:
    """List the installed plugins with version, state and what they bring."""
    from perfopt.cli.output.render import to_json
    from perfopt.engine import probe_plugins
    from perfopt.engine.allowlist import left_out

    plugins = probe_plugins(left_out(load(config_file).engine)).plugins
    click.echo(to_json(plugins) if form == "json" else _table(plugins), nl=False)


def _table(plugins: "tuple[PluginInfo, ...]") -> str:
    from perfopt.cli.output.render import table

    if not plugins:
        return "No plugin is installed. Install one, for example perfopt-resource.\n"
    rows = [(p.name, p.version, p.status.value, _brought(p), p.error or "") for p in plugins]
    return table(("NAME", "VERSION", "STATUS", "BRINGS", "ERROR"), rows)


def _brought(plugin: "PluginInfo") -> str:
    """Says what a plugin brings: types of recommendations, models, forecasters, rule packs."""
    parts = (
        ("", plugin.types),
        ("models: ", plugin.models),
        ("forecasters: ", plugin.forecasters),
        ("rules: ", plugin.rule_packs),
    )
    return "; ".join(f"{label}{', '.join(names)}" for label, names in parts if names) or "-"
