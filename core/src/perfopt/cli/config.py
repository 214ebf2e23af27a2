"""`perfopt config show`: the effective configuration."""

from pathlib import Path

import click

from perfopt.cli.options import config_option, format_option, load, settings_option


@click.group()
def config() -> None:
    """Configuration: a YAML file, overridden by the environment."""


@config.command("show")
@config_option
@settings_option
@format_option("yaml", "json")
def show_config(config_file: Path | None, form: str) -> None:
    """Prints the effective configuration: defaults filled in, secrets redacted."""
    from perfopt.cli.output.render import to_json, to_yaml
    from perfopt.config.loading import show

    shown = show(load(config_file))
    click.echo(to_yaml(shown) if form == "yaml" else to_json(shown), nl=False)
