"""The `perfopt` command: its own commands, and those that installed extensions add.

Exit codes: 0 done; 1 it failed; 2 the input is wrong (an option, a file, a name); 130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.errors import InvalidInputError, NotFoundError, PerfoptError

COMMAND_GROUP = "perfopt.commands"
_OWN = {
    "analyze": "perfopt.cli.analyze:analyze",
    "backtest": "perfopt.cli.backtest.command:backtest",
    "config": "perfopt.cli.config:config",
    "explain": "perfopt.cli.explain:explain",
    "fleet": "perfopt.cli.fleet:fleet",
    "forecast": "perfopt.cli.forecast:forecast",
    "plugin": "perfopt.cli.plugin:plugin",
    "rules": "perfopt.cli.rules:rules",
    "train": "perfopt.cli.train:train",
}
BROKEN_PIPE, INTERRUPTED = 141, 130  # as a shell reports a process that the signal ended


class CommandFailure(click.ClickException):
    """An error as a user sees it: one line on standard error."""

    exit_code = 1


class WrongInput(CommandFailure):
    """An error that the user corrects."""

    exit_code = 2


class PerfoptGroup(SuggestingGroup):
    """Finds commands when they are asked for, and turns every error into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of all commands, own and added."""
        return sorted({*_OWN, *_added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command. One that cannot be imported is a warning, never the end of the others."""
        if cmd_name in _OWN:
            module, _, name = _OWN[cmd_name].partition(":")
            own: click.Command = getattr(import_module(module), name)
            return own
        point = _added().get(cmd_name)
        return None if point is None else _load(point)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command given."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            _fail(error)


def _fail(error: Exception) -> NoReturn:
    if os.environ.get("PERFOPT_DEBUG"):
        raise error
    if isinstance(error, PerfoptError):
        kind = WrongInput if isinstance(error, InvalidInputError | NotFoundError) else CommandFailure
        raise kind(str(error)) from error
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    raise CommandFailure(
        f"Internal error: {summary}. Set PERFOPT_DEBUG=1 to see where, and please report it."
    ) from error


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMAND_GROUP) if point.name not in _OWN}


def _load(point: EntryPoint) -> click.Command | None:
    try:
        command = point.load()
    except Exception as error:  # whatever an extension raises on import concerns its own command only
        _warn(point, f"{type(error).__name__}: {error}")
        return None
    if isinstance(command, click.Command):
        return command
    _warn(point, f"{point.value} is not a click command")
    return None


def _warn(point: EntryPoint, problem: str) -> None:
    brought_by = f" of {point.dist.name}" if point.dist else ""
    text = f"Warning: the command {point.name!r}{brought_by} can't be loaded: {problem}"
    click.echo(f"{text}. Update or uninstall it.", err=True)


@click.command(cls=PerfoptGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="perfopt", message="perfopt %(version)s")
def cli() -> None:
    """Recommend settings for workloads, each backtested on the workload's own history."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits."""
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="perfopt")
    except BrokenPipeError:
        # The reader has gone (`| head`). Without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    finally:
        gc.freeze()  # nothing is searched for cycles on the way out: that took half a second of CPU
    sys.exit(0)
