"""`perfopt backtest --simulate`: autoscalers on the demand of services, minute by minute."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.backtest.selection import BacktestOptions, write_text

if TYPE_CHECKING:
    from perfopt.backtest.simulation import ServiceSimulation
    from perfopt.backtest.simulation.report import UnsimulatedService
    from perfopt.backtest.simulation.run import SimulationTask
    from perfopt.config import Config


async def run_simulation(
    options: BacktestOptions,
    spec: str | None,
    services: Path | None,
    config: "Config",
    form: str,
    html: Path | None,
    *,
    loop: bool,
) -> None:
    """Reads the demands, runs the policies and prints the figures.

    Args:
        options: names, patterns, period and policies.
        spec: of the source, as the user wrote it.
        services: services file, if any.
        config: effective configuration.
        form: "table" or "json".
        html: where to write a page, if anywhere.
        loop: whether to run the autoscaler's 15-second loop too.
    """
    from perfopt.backtest.simulation import summarise_simulation
    from perfopt.cli.output.render import to_json
    from perfopt.cli.output.simulation import to_simulation_table
    from perfopt.errors import NoDataError

    name, tasks, failed = await _read(options, spec, services, config, loop=loop)
    for one in failed:
        click.echo(f"Error: {one.service}: {one.message}", err=True)
    if not tasks:
        raise NoDataError("No service has a demand to scale for.", remedy="See the errors above.")
    runs = await asyncio.to_thread(_run, tasks, config)
    result = summarise_simulation(name, runs, failed)
    if html is not None:
        from perfopt.backtest.simulation.page import render_simulation_page

        write_text(html, render_simulation_page(result), "html")
    click.echo(to_json(result) if form == "json" else to_simulation_table(result), nl=False)


async def _read(
    options: BacktestOptions, spec: str | None, services: Path | None, config: "Config", *, loop: bool
) -> "tuple[str, list[SimulationTask], list[UnsimulatedService]]":
    from perfopt.backtest.simulation import choose_autoscalers
    from perfopt.backtest.simulation.read import STEP_SECONDS, UnreadDemand, read_demands
    from perfopt.backtest.simulation.report import UnsimulatedService
    from perfopt.backtest.simulation.run import SimulationTask
    from perfopt.domain.period import parse_instant
    from perfopt.sources.factory import open_source

    policies = choose_autoscalers(options.policies)
    begin = parse_instant(options.begin, field="from") if options.begin else None
    until = parse_instant(options.until, field="until") if options.until else None
    source = open_source(spec, config, services, step_seconds=STEP_SECONDS)
    tasks: list[SimulationTask] = []
    failed: list[UnsimulatedService] = []
    try:
        workloads = options.workloads(await source.inventory(until or await source.latest()))
        async for demand in read_demands(source, workloads, begin, until):
            if isinstance(demand, UnreadDemand):
                failed.append(UnsimulatedService(service=demand.service, message=demand.error.explained))
            else:
                tasks.append(SimulationTask(demand[0], demand[1], policies, loop))
    finally:
        await source.close()
    return source.name, tasks, failed


def _run(tasks: "Sequence[SimulationTask]", config: "Config") -> "list[ServiceSimulation]":
    from perfopt.backtest.simulation import run_service
    from perfopt.cli.options import open_batch
    from perfopt.cli.output.progress import progress_bar

    runs = []
    with open_batch(config) as batch, progress_bar(len(tasks), label="simulating") as progress:
        for run in batch.map(run_service, tasks):
            runs.append(run)
            progress.advance()
    return runs
