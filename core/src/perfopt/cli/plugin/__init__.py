"""`perfopt plugin`: what is installed, and the tools of those who write one."""

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.plugin.check import check_plugin
from perfopt.cli.plugin.listing import list_plugins
from perfopt.cli.plugin.new import new_plugin
from perfopt.cli.plugin.pin import pin_plugins
from perfopt.cli.plugin.run import run_strategy

__all__ = ["plugin"]


@click.group(cls=SuggestingGroup)
def plugin() -> None:
    """List plugins, and write, check and run your own."""


for command in (list_plugins, new_plugin, check_plugin, run_strategy, pin_plugins):
    plugin.add_command(command)
