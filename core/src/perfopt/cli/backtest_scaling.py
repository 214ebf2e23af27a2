"""`perfopt backtest --type scaling`: policies of horizontal scaling on the demand of services."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.backtest import Asked, chosen_workloads

if TYPE_CHECKING:
    from perfopt.backtest.scaling import ScalingBacktest, ServiceRun
    from perfopt.backtest.scaling.report import Failed
    from perfopt.backtest.scaling.run import Task
    from perfopt.config import Config


async def run_scaling(
    asked: Asked,
    spec: str | None,
    services: Path | None,
    config: "Config",
    form: str,
    html: Path | None,
    *,
    loop: bool,
) -> None:
    """Reads the demands, runs the policies and prints what came of it.

    Args:
        asked: names, patterns, period and policies.
        spec: of the source, as the user wrote it.
        services: services file, if any.
        config: effective configuration.
        form: "table" or "json".
        html: where to write a page, if anywhere.
        loop: whether to run the autoscaler's 15-second loop too.
    """
    from perfopt.backtest.scaling import summarise_scaling
    from perfopt.cli.output.backtest_scaling import to_scaling_table
    from perfopt.cli.output.render import to_json
    from perfopt.engine.engine import cores
    from perfopt.errors import NoDataError

    name, tasks, failed = await _read(asked, spec, services, config, loop=loop)
    for one in failed:
        click.echo(f"Error: {one.service}: {one.message}", err=True)
    if not tasks:
        raise NoDataError("No service has a demand to scale for.", remedy="See the errors above.")
    runs = await asyncio.to_thread(_run, tasks, config.engine.processes or cores())
    result = summarise_scaling(name, runs, failed)
    if html is not None:
        _write(html, result)
    click.echo(to_json(result) if form == "json" else to_scaling_table(result), nl=False)


async def _read(
    asked: Asked, spec: str | None, services: Path | None, config: "Config", *, loop: bool
) -> "tuple[str, list[Task], list[Failed]]":
    from perfopt.backtest.scaling import choose_scaling_policies
    from perfopt.backtest.scaling.read import STEP_SECONDS, Unread, read_demands
    from perfopt.backtest.scaling.report import Failed
    from perfopt.backtest.scaling.run import Task
    from perfopt.domain.period import parse_instant
    from perfopt.sources.factory import open_source

    policies = choose_scaling_policies(asked.policies)
    begin = parse_instant(asked.begin, field="from") if asked.begin else None
    until = parse_instant(asked.until, field="until") if asked.until else None
    source = open_source(spec, config, services, step_seconds=STEP_SECONDS)
    tasks: list[Task] = []
    failed: list[Failed] = []
    try:
        workloads = chosen_workloads(asked, await source.inventory(until or await source.latest()))
        async for found in read_demands(source, workloads, begin, until):
            if isinstance(found, Unread):
                failed.append(Failed(service=found.service, message=found.error.explained))
            else:
                tasks.append(Task(found[0], found[1], policies, loop))
    finally:
        await source.close()
    return source.name, tasks, failed


def _run(tasks: "Sequence[Task]", processes: int) -> "list[ServiceRun]":
    from perfopt.backtest.scaling import run_services
    from perfopt.cli.output.progress import progress_bar

    runs = []
    with progress_bar(len(tasks), shown=sys.stderr.isatty(), label="scaling") as advance:
        for run in run_services(tasks, processes):
            runs.append(run)
            advance()
    return runs


def _write(path: Path, result: "ScalingBacktest") -> None:
    from perfopt.backtest.scaling.page import render_scaling_page
    from perfopt.errors import InvalidInputError

    try:
        path.write_text(render_scaling_page(result), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{path} can't be written: {error.strerror}.", field="html", remedy="Name another file."
        ) from None
