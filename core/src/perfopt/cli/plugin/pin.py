"""`perfopt plugin pin`: the hashes of what is installed."""

import click


@click.command("pin")
def pin_plugins() -> None:
    """Print `engine.allowed_plugins` for what is installed now.

    Put it into the configuration, and no other plugin, and no other version of these, is imported.
    """
    import yaml

    from perfopt.engine.allowlist import installed_hashes

    click.echo(yaml.safe_dump({"engine": {"allowed_plugins": installed_hashes()}}), nl=False)
