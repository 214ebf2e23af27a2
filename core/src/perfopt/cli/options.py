"""Options that several commands share, and how they are parsed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from perfopt.errors import InvalidInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from perfopt.batch import BatchExecutor
    from perfopt.config import Config
    from perfopt.domain.enums import OptimizationType

_SETTINGS = "perfopt.cli.options.settings"

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file; default: PERFOPT_CONFIG.",
)


def source_options[F: Callable[..., Any]](command: F) -> F:
    """Adds the options that name the metrics, `--source` and `--services`."""
    help_text = "A configured name, a URL, or a Parquet or CSV file or directory."
    state = "YAML: the current settings of the series in files."
    command = click.option("--services", type=click.Path(path_type=Path), help=state)(command)
    return click.option("--source", help=help_text)(command)


def service_options[F: Callable[..., Any]](verb: str) -> Callable[[F], F]:
    """Returns the options that select services, `--service` and `--all`, with a verb for their help."""

    def add(command: F) -> F:
        every = click.option(
            "--all", "everything", is_flag=True, help=f"{verb.capitalize()} all services of the source."
        )
        one = click.option(
            "--service", "names", multiple=True, help=f"Service to {verb}; may be given again."
        )
        return one(every(command))

    return add


def named_services(names: tuple[str, ...], everything: bool) -> tuple[str, ...] | None:
    """Returns the services requested; None is all.

    Raises:
        UsageError: neither or both of `--service` and `--all`.
    """
    if everything == bool(names):
        raise click.UsageError("Give either --service NAME (once or more) or --all.")
    return None if everything else names


def _keep_settings(context: click.Context, _: click.Parameter, given: tuple[str, ...]) -> None:
    context.meta[_SETTINGS] = given


settings_option = click.option(
    "--set",
    multiple=True,
    metavar="NAME.KEY=VALUE",
    expose_value=False,
    callback=_keep_settings,
    help="Setting of a plugin or section, before file and environment; may be given again.",
)


def load(config_file: Path | None) -> "Config":
    """Reads the configuration from a file, the environment and the option `--set` of the command."""
    from perfopt.config import load_config

    return load_config(config_file, os.environ, settings_given())


def settings_given() -> tuple[str, ...]:
    """Returns what the option `--set` of the running command was given."""
    given: tuple[str, ...] = click.get_current_context().meta.get(_SETTINGS, ())
    return given


def lookup_options[F: Callable[..., Any]](command: F) -> F:
    """Adds the options that say where recommendations are looked up, `--server` and `--input`."""
    server = "Address of a service; its token, if any, is in PERFOPT_TOKEN."
    printed = "What `perfopt analyze --format json` (or ndjson) printed; standard input otherwise."
    command = click.option("--input", "source", type=click.File("rb"), default="-", help=printed)(command)
    return click.option("--server", help=server)(command)


def writable(path: Path, option: str) -> IO[str]:
    """Opens a file to write text to.

    Raises:
        InvalidInputError: it can't be written.
    """
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{path} can't be written: {error.strerror}.",
            field=option,
            remedy="Name a file in a folder that exists.",
        ) from error


executor_option = click.option(
    "--executor",
    metavar="WHERE",
    help="processes (default), dask://host:port of a Dask scheduler, or dask://local; same output.",
)


def open_batch(config: "Config") -> "AbstractContextManager[BatchExecutor]":
    """Opens what the configuration says batch work runs on."""
    from perfopt.batch import open_executor
    from perfopt.engine.engine import cores

    return open_executor(config.engine.executor, config.engine.processes or cores())


model_option = click.option(
    "--model", type=click.Path(path_type=Path), help="A model that `perfopt train` wrote, of any kind."
)


def with_engine(
    config: "Config",
    *,
    processes: int | None,
    model: Path | None,
    minimum_confidence: float | None = None,
    executor: str | None = None,
) -> "Config":
    """Returns the configuration with the engine options of the command line, if any."""
    from msgspec.structs import replace

    if processes is not None:
        config = replace(config, engine=replace(config.engine, processes=processes))
    if executor is not None:
        config = replace(config, engine=replace(config.engine, executor=executor))
    if minimum_confidence is not None:
        config = replace(config, engine=replace(config.engine, minimum_confidence=minimum_confidence))
    return config if model is None else replace(config, model=str(model))


def format_option[F: Callable[..., Any]](*formats: str) -> Callable[[F], F]:
    """Returns the option `--format`; the first format is the default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Output format.",
    )


def parse_types(texts: Sequence[str]) -> "tuple[OptimizationType, ...]":
    """Returns the types named, each once and in order; all five where none is named.

    Args:
        texts: each holds names separated by commas, in any case: "RESOURCE_OPTIMIZATION", or for
            short "resource", "scaling", "tuning", "cost", "latency".

    Raises:
        InvalidInputError: a name is not a type.
    """
    from perfopt.config.paths import suggestion
    from perfopt.domain.enums import OptimizationType

    names = {kind.value: kind for kind in OptimizationType}
    for kind in OptimizationType:
        names[kind.value.partition("_")[0]] = kind
    names["TUNING"] = names.pop("PERFORMANCE")
    known = tuple(name.lower() for name in names if name not in tuple(OptimizationType))
    types: dict[OptimizationType, None] = {}
    for name in (part.strip() for text in texts for part in text.split(",")):
        if name.upper() not in names:
            raise InvalidInputError(
                f"{name!r} is not an optimization type.",
                field="types",
                remedy=suggestion(name.lower(), known),
            )
        types[names[name.upper()]] = None
    return tuple(types) or tuple(OptimizationType)
