"""`perfopt backtest`: how each policy would have done on the history of a source."""

import asyncio
import re
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import (
    config_option,
    format_option,
    load,
    model_option,
    named_services,
    service_options,
    settings_option,
    source_options,
    with_engine,
)

if TYPE_CHECKING:
    from perfopt.backtest import Backtest, Plan, Walk
    from perfopt.config import Config
    from perfopt.domain.workload import Workload
    from perfopt.engine import Engine
    from perfopt.sources.base import MetricSource


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asked, as written.

    Attributes:
        names: of services; empty is all.
        match, exclude: regular expressions that a service name must, or must not, contain.
        begin, until, history, validity, cuts: see the options.
        policies, plugins: names; empty is all.
    """

    names: tuple[str, ...]
    match: str | None
    exclude: str | None
    begin: str | None
    until: str | None
    history: str
    validity: str
    cuts: str | None
    policies: tuple[str, ...]
    plugins: tuple[str, ...]


@click.command()
@click.option(
    "--type",
    "kind",
    type=click.Choice(("resource", "scaling")),
    default="resource",
    show_default=True,
    help="What is replayed: requests and limits, or horizontal scaling minute by minute.",
)
@source_options
@service_options("replay")
@click.option("--match", help="Only services whose name contains this regular expression.")
@click.option("--exclude", help="No services whose name contains this regular expression.")
@click.option(
    "--from", "begin", help="Start of the data, such as 2026-09-01T00:00:00Z; for the cuts otherwise."
)
@click.option("--until", help="End of the data; the last sample of these services otherwise.")
@click.option("--history", default="14d", show_default=True, help="What each recommendation is made from.")
@click.option("--validity", default="7d", show_default=True, help="What each is scored on.")
@click.option(
    "--cuts", help="From one recommendation to the next (7d), or how many (10); the validity otherwise."
)
@click.option(
    "--policy", "policies", multiple=True, help="perfopt or a baseline; may be given again; all otherwise."
)
@click.option(
    "--plugin", "plugins", multiple=True, help="Plugin that perfopt is replayed with; all otherwise."
)
@format_option("table", "json")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with charts."
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes; one a core otherwise.")
@click.option("--loop", is_flag=True, help="For scaling: a second table by the autoscaler's 15-second loop.")
@model_option
@config_option
@settings_option
@click.pass_context
def backtest(
    context: click.Context,
    kind: str,
    source: str | None,
    services: Path | None,
    names: tuple[str, ...],
    everything: bool,
    match: str | None,
    exclude: str | None,
    begin: str | None,
    until: str | None,
    history: str,
    validity: str,
    cuts: str | None,
    policies: tuple[str, ...],
    plugins: tuple[str, ...],
    form: str,
    html: Path | None,
    processes: int | None,
    loop: bool,
    model: Path | None,
    config_file: Path | None,
) -> None:
    """Replays policies on history: what each would have recommended, and how that did.

    At each cut every policy recommends from what was known then, and is scored on the validity window
    after it. With --type scaling every policy scales the service's demand minute by minute. The same data
    give the same output, whatever the number of processes.
    """
    named_services(names, everything)
    _check_writable(html)
    _check_options(context, kind)
    asked = Asked(names, match, exclude, begin, until, history, validity, cuts, policies, plugins)
    config = with_engine(load(config_file), processes=processes, model=model)
    if kind == "scaling":
        from perfopt.cli.backtest_scaling import run_scaling

        asyncio.run(run_scaling(asked, source, services, config, form, html, loop=loop))
        return
    asyncio.run(_run(asked, source, services, config, form, html))


_OTHER_TYPE = {
    "scaling": ("history", "validity", "cuts", "plugins", "model"),
    "resource": ("loop",),
}


def _check_options(context: click.Context, kind: str) -> None:
    """Refuses options that the type of backtest does not read."""
    for name in _OTHER_TYPE[kind]:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "plugin" if name == "plugins" else name
            raise click.UsageError(f"--{option} says nothing to a backtest of type {kind}.")


async def _run(
    asked: Asked, spec: str | None, services: Path | None, config: "Config", form: str, html: Path | None
) -> None:
    from perfopt.backtest import report
    from perfopt.cli.output.backtest import to_table
    from perfopt.cli.output.render import to_json
    from perfopt.sources.factory import open_source, source_config, with_price_books

    source = open_source(spec, config, services)
    priced = with_price_books(config, source_config(spec, config, services)[1])
    try:
        policies, engine = await asyncio.to_thread(_policies, asked, priced)
        try:
            plan = await _plan(asked, source)
            walks = await _walk(asked, source, plan, policies, priced, engine)
        finally:
            if engine is not None:
                engine.close()
        result = report(source.name, plan, walks)
        if html is not None:
            await _write_page(html, result, source)
    finally:
        await source.close()
    click.echo(to_json(result) if form == "json" else to_table(result), nl=False)


def _policies(asked: Asked, config: "Config") -> "tuple[tuple[str, ...], Engine | None]":
    """Returns the policies to replay, and the engine that perfopt needs, if it takes part."""
    from perfopt.backtest import OURS, backtest_registry, choose_policies, open_engine, scorable
    from perfopt.errors import InvalidInputError

    policies = choose_policies(asked.policies)
    if OURS not in policies:
        if asked.plugins:
            raise InvalidInputError(
                "A plugin is named, and perfopt is not among the policies.",
                field="plugin",
                remedy="Add --policy perfopt.",
            )
        return policies, None
    registry = backtest_registry(config, asked.plugins)
    if scorable(registry):
        return policies, open_engine(registry, config)
    if asked.policies:
        raise InvalidInputError(
            "No installed plugin makes recommendations that can be scored.",
            field="policy",
            remedy="Install one, for example perfopt-resource, or name baselines only.",
        )
    click.echo("perfopt is left out: no installed plugin makes recommendations of resources.", err=True)
    return tuple(name for name in policies if name != OURS), None


async def _plan(asked: Asked, source: "MetricSource") -> "Plan":
    from perfopt.backtest import make_plan
    from perfopt.domain.period import parse_duration, parse_instant

    return make_plan(
        parse_instant(asked.until, field="until") if asked.until else await _last_sample(asked, source),
        begin=parse_instant(asked.begin, field="from") if asked.begin else None,
        history=parse_duration(asked.history, field="history"),
        validity=parse_duration(asked.validity, field="validity"),
        cuts=asked.cuts,
    )


async def _last_sample(asked: Asked, source: "MetricSource") -> datetime:
    """Returns the end of the services chosen: others in the same files may go on for years."""
    from perfopt.sources.base import KnowsExtent

    latest = await source.latest()
    if not isinstance(source, KnowsExtent):
        return latest
    extents = [await source.extent(one) for one in chosen_workloads(asked, await source.inventory(latest))]
    return max((extent[1] for extent in extents if extent is not None), default=latest)


async def _walk(
    asked: Asked,
    source: "MetricSource",
    plan: "Plan",
    policies: tuple[str, ...],
    config: "Config",
    engine: "Engine | None",
) -> "list[Walk]":
    from perfopt.backtest import walk_fleet
    from perfopt.cli.output.progress import progress_bar
    from perfopt.engine.engine import cores

    workloads = chosen_workloads(asked, await source.inventory(plan.end))
    processes = config.engine.processes or cores()
    walks = []
    with progress_bar(len(workloads), shown=sys.stderr.isatty(), label="replaying") as advance:
        async for walk in walk_fleet(source, workloads, plan, policies, config, engine, processes=processes):
            if walk.error is not None:
                click.echo(f"Error: {walk.workload.service_name}: {walk.error.explained}", err=True)
            walks.append(walk)
            advance()
    return walks


def chosen_workloads(asked: Asked, inventory: "tuple[Workload, ...]") -> "list[Workload]":
    """Returns the services that a user named, less those that a pattern leaves out."""
    from perfopt.domain.resolve import resolve_workload
    from perfopt.errors import NotFoundError

    named = [resolve_workload(name, inventory) for name in asked.names] if asked.names else list(inventory)
    keep, drop = _pattern("match", asked.match), _pattern("exclude", asked.exclude)
    chosen = [
        workload
        for workload in named
        if (keep is None or keep.search(workload.service_name))
        and (drop is None or not drop.search(workload.service_name))
    ]
    if not chosen:
        raise NotFoundError(
            f"None of the {len(named)} services is left to replay.",
            remedy="Check --match and --exclude." if named else "The source knows no service.",
        )
    return chosen


def _pattern(option: str, text: str | None) -> "re.Pattern[str] | None":
    from perfopt.errors import InvalidInputError

    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidInputError(
            f"{text!r} is not a regular expression: {error}.", field=option, remedy="Correct it."
        ) from None


def _check_writable(html: Path | None) -> None:
    """Refuses a page that can't be written before the work for it is done."""
    from perfopt.errors import InvalidInputError

    if html is not None and not html.absolute().parent.is_dir():
        raise InvalidInputError(
            f"There is no folder {html.absolute().parent}.",
            field="html",
            remedy="Make it, or name another file.",
        )


async def _write_page(path: Path, result: "Backtest", source: "MetricSource") -> None:
    from perfopt.backtest import read_miss_series
    from perfopt.backtest.page import render_page
    from perfopt.errors import InvalidInputError

    series = await read_miss_series(source, result)
    try:
        path.write_text(render_page(result, series), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{path} can't be written: {error.strerror}.", field="html", remedy="Name another file."
        ) from None
