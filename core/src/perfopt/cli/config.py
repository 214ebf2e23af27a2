"""`perfopt config show`: the effective configuration."""

from dataclasses import replace
from pathlib import Path

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, format_option, load, settings_option


@click.group(cls=SuggestingGroup)
def config() -> None:
    """Show the configuration in force."""


@config.command("show")
@config_option
@settings_option
@format_option("yaml", "json")
def show_config(config_file: Path | None, form: str) -> None:
    """Print every setting with its effective value and where it is set.

    Secrets are redacted. The settings of plugins are checked, and a wrong one is an error, as it is for every
    other command.
    """
    from perfopt.cli.output.render import to_json
    from perfopt.config.show import effective
    from perfopt.engine import probe_plugins
    from perfopt.engine.allowlist import left_out
    from perfopt.engine.configure import configure

    given = load(config_file)
    settings = configure(probe_plugins(left_out(given.engine)), given)
    shown = effective(given, settings.shown, replace(settings.document, data=given.document.data))
    if form == "yaml":
        click.echo(shown.to_yaml(), nl=False)
    else:
        click.echo(to_json({**shown.data, "origins": shown.origins}), nl=False)
    for warning in settings.warnings:
        click.echo(f"Warning: {warning.message}", err=True)
