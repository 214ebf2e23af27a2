"""`perfopt model`: the registry of models that the workers use."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, format_option, load, settings_option
from perfopt_api.commands.user import system_user

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt_api.registry.replay import ReplayRequest, ReplayResult
    from perfopt_api.store.models import PostgresModels, RegisteredModel

kind_option = click.option(
    "--kind", help="Kind of model, needed where models of several kinds are registered."
)
by_option = click.option(
    "--by", default=None, metavar="NAME", help="Who does it, for the record; the system's user otherwise."
)


def replay_options[F: Callable[..., Any]](command: F) -> F:
    """Adds the options that say what to replay on."""
    options = (
        click.option("--source", help="A configured name, a URL, or a Parquet or CSV file or directory."),
        click.option("--services", type=click.Path(path_type=Path), help="YAML for series of files."),
        click.option("--service", "names", multiple=True, help="Service to replay; all otherwise."),
        click.option("--from", "begin", help="Start of the data; as early as the cuts need otherwise."),
        click.option("--until", help="End of the data; the last sample otherwise."),
        click.option("--history", default="14d", show_default=True, help="Given to each recommendation."),
        click.option("--validity", default="7d", show_default=True, help="What each is scored on."),
        click.option(
            "--cuts", default="4", show_default=True, help="How many recommendations, or a stride (7d)."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("model", cls=SuggestingGroup)
def model() -> None:
    """Register, compare, promote and roll back models."""


@model.command("register")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--kind", help="Kind of model; the first installed one that accepts the file otherwise.")
@by_option
@config_option
def register(file: Path, kind: str | None, by: str | None, config_file: Path | None) -> None:
    """Store a model file as a candidate. The same content again is the same version."""
    from perfopt.engine import Engine
    from perfopt.engine.models import read_model_file

    content = read_model_file(file)
    with Engine.open(load(config_file)) as engine:
        checked = engine.check_model(content, kind)
    registered = _with_registry(
        config_file, lambda models: models.register(checked.kind, content, checked.card, by or system_user())
    )
    click.echo(
        f"{checked.kind} model {registered.version} is registered, {registered.status},"
        f" sha256 {registered.sha256}."
    )


@model.command("list")
@click.option("--kind", help="Only models of this kind.")
@format_option("table", "json")
@config_option
def list_command(kind: str | None, form: str, config_file: Path | None) -> None:
    """List what is registered, newest first."""
    from perfopt.cli.output.render import to_json
    from perfopt_api.registry.text import models_table

    versions = _with_registry(config_file, lambda models: models.list_models(kind=kind))
    click.echo(to_json(versions) if form == "json" else models_table(versions), nl=False)


@model.command("show")
@click.argument("version", type=int)
@kind_option
@config_option
def show(version: int, kind: str | None, config_file: Path | None) -> None:
    """Print one model as JSON.

    With its card and the figures of its last replay.
    """
    from perfopt.cli.output.render import to_json

    async def run(models: "PostgresModels") -> "RegisteredModel":
        return await models.get(await _kind(models, kind), version)

    click.echo(to_json(_with_registry(config_file, run)), nl=False)


@model.command("compare")
@click.argument("version", type=int)
@click.option("--with", "against", type=int, help="Another version; the active one otherwise.")
@kind_option
@replay_options
@format_option("table", "json")
@config_option
@settings_option
def compare(
    version: int, against: int | None, kind: str | None, form: str, config_file: Path | None, **options: Any
) -> None:
    """Replay a model against the active one."""
    from perfopt.cli.output.render import to_json
    from perfopt_api.registry.promotion import contenders
    from perfopt_api.registry.text import replay_table

    config = load(config_file)

    async def run(models: "PostgresModels") -> "ReplayResult":
        _, incumbent, candidate = await contenders(models, await _kind(models, kind), version, against)
        return await _replay(incumbent, candidate, config, options)

    comparison = _with_registry(config_file, run)
    click.echo(to_json(comparison) if form == "json" else replay_table(comparison), nl=False)


@model.command("promote")
@click.argument("version", type=int)
@kind_option
@replay_options
@by_option
@config_option
@settings_option
def promote(version: int, kind: str | None, by: str | None, config_file: Path | None, **options: Any) -> None:
    """Make a model active if it is better.

    It is replayed against the active one first.

    Better is: accuracy higher at no more waste, or accuracy not lower and waste lower, each by the 95 %
    interval over services, without abstaining more often. Otherwise it exits with 1 and the figures, which
    are kept with the model either way. Workers take up the new model within seconds.
    """
    from perfopt.errors import ConflictError
    from perfopt_api.registry.promotion import PromotionResult, contenders, decide
    from perfopt_api.registry.text import replay_table

    config = load(config_file)

    async def run(models: "PostgresModels") -> PromotionResult:
        candidate_model, incumbent, candidate = await contenders(models, await _kind(models, kind), version)
        replay = await _replay(incumbent, candidate, config, options)
        return await decide(models, candidate_model, replay, by or system_user())

    done = _with_registry(config_file, run)
    click.echo(replay_table(done.replay), nl=False)
    if not done.replay.comparison.better:
        raise ConflictError(
            f"{done.model.kind} model {version} is not promoted. {done.replay.comparison.verdict}"
        )
    click.echo(f"{done.model.kind} model {version} is active.")


@model.command("rollback")
@kind_option
@by_option
@config_option
def rollback(kind: str | None, by: str | None, config_file: Path | None) -> None:
    """Go back to what was active before.

    Undoes the last promotion; again, the one before that.
    """

    async def run(models: "PostgresModels") -> "tuple[RegisteredModel, RegisteredModel | None]":
        return await models.rollback(await _kind(models, kind), by or system_user())

    left, back = _with_registry(config_file, run)
    in_use = (
        "what is configured or shipped is used"
        if back is None
        else f"{back.kind} model {back.version} is active"
    )
    click.echo(f"{left.kind} model {left.version} is retired; {in_use}.")


async def _kind(models: "PostgresModels", kind: str | None) -> str:
    """Returns the kind given, or the only one that is registered."""
    from perfopt.errors import InvalidInputError

    if kind is not None:
        return kind
    kinds = sorted({model.kind for model in await models.list_models(kind=None)})
    if len(kinds) == 1:
        return kinds[0]
    message = "Models of several kinds are registered." if kinds else "No model is registered."
    remedy = f"Name one of: {', '.join(kinds)}." if kinds else "Register one with `perfopt model register`."
    raise InvalidInputError(message, field="kind", remedy=remedy)


def _with_registry[T](config_file: Path | None, use: "Callable[[PostgresModels], Awaitable[T]]") -> T:
    from perfopt_api.settings import service_settings
    from perfopt_api.store.database import Database
    from perfopt_api.store.models import PostgresModels

    async def run() -> T:
        database = Database(service_settings(load(config_file)).database_url, pool_size=1)
        try:
            return await use(PostgresModels(database))
        finally:
            await database.close()

    return asyncio.run(run())


async def _replay(
    incumbent: Any, candidate: Any, config: "Config", options: dict[str, Any]
) -> "ReplayResult":
    from perfopt.sources.factory import open_source, source_config, with_price_books
    from perfopt_api.registry.replay import replay

    spec, services = options["source"], options["services"]
    source = open_source(spec, config, services)
    try:
        priced = with_price_books(config, source_config(spec, config, services)[1])
        return await replay(
            incumbent,
            candidate,
            source,
            _replay_request(options),
            priced,
            at=datetime.now(UTC),
            say=lambda text: click.echo(text, err=True),
        )
    finally:
        await source.close()


def _replay_request(options: dict[str, Any]) -> "ReplayRequest":
    from perfopt.domain.period import parse_duration, parse_instant
    from perfopt_api.registry.replay import ReplayRequest

    begin, until = options["begin"], options["until"]
    return ReplayRequest(
        names=options["names"] or None,
        begin=None if begin is None else parse_instant(begin, field="from"),
        until=None if until is None else parse_instant(until, field="until"),
        history=parse_duration(options["history"], field="history"),
        validity=parse_duration(options["validity"], field="validity"),
        cuts=options["cuts"],
    )
