"""`perfopt backtest`: how each policy would have done on the history of a source."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.backtest.selection import BacktestOptions, check_writable, write_text
from perfopt.cli.options import (
    config_option,
    executor_option,
    format_option,
    load,
    model_option,
    named_services,
    parse_types,
    service_options,
    settings_option,
    source_options,
    with_engine,
)

if TYPE_CHECKING:
    from perfopt.backtest import BacktestResult, Policy, ServiceBacktest
    from perfopt.config import Config
    from perfopt.engine import Engine
    from perfopt.evaluation.split import Split
    from perfopt.sources.base import MetricSource


@click.command()
@click.option(
    "--types",
    "--type",
    "types",
    multiple=True,
    default=("all",),
    show_default=True,
    help="Types of recommendations: all, or some of resource, scaling, cost, latency, tuning.",
)
@source_options
@service_options("backtest")
@click.option("--match", help="Only services whose name contains this regular expression.")
@click.option("--exclude", help="No services whose name contains this regular expression.")
@click.option(
    "--split",
    type=click.Choice(("tune", "report")),
    help="Half of the services, by hash of the name, as in `perfopt train`.",
)
@click.option(
    "--from",
    "begin",
    help="Start of the data, such as 2026-09-01T00:00:00Z; default: what the origins need.",
)
@click.option("--until", help="End of the data; default: the last sample of each service.")
@click.option("--history", default="14d", show_default=True, help="What each recommendation is made from.")
@click.option(
    "--validity", help="What each is scored on; default: 7d, and 3/10 of the data of a shorter service."
)
@click.option(
    "--origins",
    "--cuts",
    "origins",
    help="Stride between origins (7d) or number of origins (10); default: a stride of the validity.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="perfopt, plan, live, current or a baseline; repeatable; default: all.",
)
@click.option(
    "--plugin", "plugins", multiple=True, help="Plugin whose strategies are evaluated; default: all."
)
@format_option("table", "json")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with charts."
)
@click.option(
    "--rows",
    "rows_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write each evaluated recommendation to this .csv or .parquet file.",
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes; default: one a core.")
@executor_option
@click.option(
    "--simulate",
    type=click.Choice(("minutes", "loop")),
    help="Instead simulate autoscalers minute by minute, or also by the HPA's 15-second loop.",
)
@click.option(
    "--closed-loop",
    is_flag=True,
    help="Instead re-analyse sizes at a stride, change what is worth it, and count unsafe days and savings.",
)
@click.option("--every", default="1d", show_default=True, help="Stride of the closed loop.")
@click.option(
    "--horizon", default="1d", show_default=True, help="How long each size of the closed loop must hold."
)
@model_option
@settings_option
@config_option
@click.pass_context
def backtest(
    context: click.Context,
    types: tuple[str, ...],
    source: str | None,
    services: Path | None,
    names: tuple[str, ...],
    everything: bool,
    match: str | None,
    exclude: str | None,
    split: "Split | None",
    begin: str | None,
    until: str | None,
    history: str,
    validity: str | None,
    origins: str | None,
    policies: tuple[str, ...],
    plugins: tuple[str, ...],
    form: str,
    html: Path | None,
    rows_file: Path | None,
    processes: int | None,
    executor: str | None,
    simulate: str | None,
    closed_loop: bool,
    every: str,
    horizon: str,
    model: Path | None,
    config_file: Path | None,
) -> None:
    """Evaluate policies on the history of services.

    Prints what each policy would have recommended, and how that did.

    At each origin every policy recommends from what was known then, and is scored on the validity window
    after it. A policy is a strategy of an installed plugin, the merged plan of all, perfopt's running
    control of replicas, or a baseline. The same data give the same output, whatever the number of processes.
    """
    named_services(names, everything)
    check_writable(html, "html")
    _check_rows(rows_file)
    _check_origins(origins)
    _check_fitted(policies)
    kinds = parse_types(tuple(text for text in types if text.strip().lower() != "all"))
    options = BacktestOptions(
        names, match, exclude, split, begin, until, history, validity, origins, kinds, policies, plugins
    )
    config = with_engine(load(config_file), processes=processes, model=model, executor=executor)
    _check_mode(context, closed_loop=closed_loop, simulated=simulate is not None)
    if simulate is not None:
        from perfopt.cli.backtest.simulation import run_simulation

        asyncio.run(run_simulation(options, source, services, config, form, html, loop=simulate == "loop"))
        return
    if closed_loop:
        from perfopt.cli.backtest.closed_loop import for_loop

        looped = for_loop(replace(options, validity=horizon, every=every))
        asyncio.run(evaluate(looped, source, services, config, form, html, rows_file, loop_names=policies))
        return
    asyncio.run(evaluate(options, source, services, config, form, html, rows_file))


def _check_origins(origins: str | None) -> None:
    """Refuses a wrong stride or number once, and not for each service."""
    from datetime import timedelta

    from perfopt.backtest.schedule import number_and_stride

    number_and_stride(origins, timedelta(days=1))


def _check_rows(path: Path | None) -> None:
    if path is not None:
        from perfopt.report.files import check_format

        check_writable(path, "rows")
        check_format(path, "rows")


def _check_fitted(policies: tuple[str, ...]) -> None:
    from perfopt.backtest.fitting import check_fittable

    check_fittable(policies)


_LOOP_ONLY = ("every", "horizon")
_NOT_SIMULATED = ("history", "validity", "origins", "plugins", "model", "rows_file", "closed_loop")
_OPTION = {"plugins": "plugin", "rows_file": "rows", "closed_loop": "closed-loop"}


def _check_mode(context: click.Context, *, closed_loop: bool, simulated: bool) -> None:
    """Refuses options that a simulation, a closed loop or a plain backtest does not read."""
    unread = dict.fromkeys(_NOT_SIMULATED, "with --simulate") if simulated else {}
    unread |= {"validity": "with --closed-loop; give --horizon"} if closed_loop else {}
    unread |= {} if closed_loop else dict.fromkeys(_LOOP_ONLY, "without --closed-loop")
    for name, when in unread.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{_OPTION.get(name, name)} has no effect {when}.")


async def evaluate(
    options: BacktestOptions,
    spec: str | None,
    services: Path | None,
    config: "Config",
    form: str,
    html: Path | None,
    rows_file: Path | None,
    loop_names: tuple[str, ...] | None = None,
) -> None:
    """Evaluates, writes the files that are named, and prints the table or JSON."""
    from perfopt.backtest import report
    from perfopt.backtest.export import to_arrow
    from perfopt.cli.backtest.closed_loop import run_closed_loop
    from perfopt.cli.output.backtest import to_table
    from perfopt.cli.output.render import to_json
    from perfopt.report.files import write_table
    from perfopt.sources.factory import open_source, source_config, with_price_books

    source = open_source(spec, config, services)
    priced = with_price_books(config, source_config(spec, config, services)[1])
    try:
        policies, engine = await asyncio.to_thread(_policies, options, priced)
        try:
            if loop_names is not None:
                await run_closed_loop(
                    options, loop_names, source, policies, priced, engine, form, html, rows_file
                )
                return
            results = await _evaluate(options, source, policies, priced, engine)
        finally:
            if engine is not None:
                engine.close()
        result = report(source.name, options.history, results)
        if rows_file is not None:
            rows = [row for result in results for row in result.rows]
            write_table(to_arrow(rows), rows_file, "rows")
        if html is not None:
            await _write_page(html, result, source)
    finally:
        await source.close()
    click.echo(to_json(result) if form == "json" else to_table(result), nl=False)


def _policies(options: BacktestOptions, config: "Config") -> "tuple[tuple[Policy, ...], Engine | None]":
    """Returns the policies to evaluate, and the engine that strategies need, if any takes part."""
    from perfopt.backtest import backtest_registry, choose_policies, engine_policies, open_engine
    from perfopt.backtest.policies import is_baseline
    from perfopt.errors import InvalidInputError

    named = [any(is_baseline(kind, name) for kind in options.types) for name in options.policies]
    if named and all(named):
        if options.plugins:
            raise InvalidInputError(
                "A plugin is named, and perfopt is not among the policies.",
                field="plugin",
                remedy="Add --policy perfopt.",
            )
        return choose_policies(options.policies, options.types, ()), None
    registry = backtest_registry(config, options.plugins, options.types)
    if not registry.of_types(options.types):
        kinds = ", ".join(options.types)
        if options.policies:
            raise InvalidInputError(
                f"No installed plugin has a strategy of {kinds}.",
                field="policy",
                remedy="Install one, for example perfopt-resource, or name baselines only.",
            )
        click.echo(f"perfopt is left out: no installed plugin has a strategy of {kinds}.", err=True)
        return choose_policies((), options.types, ()), None
    engine = open_engine(registry, config)
    try:
        ours = engine_policies(engine, options.types)
        return choose_policies(options.policies, options.types, ours), engine
    except BaseException:
        engine.close()
        raise


async def _evaluate(
    options: BacktestOptions,
    source: "MetricSource",
    policies: "tuple[Policy, ...]",
    config: "Config",
    engine: "Engine | None",
) -> "list[ServiceBacktest]":
    from perfopt.backtest import backtest_services
    from perfopt.backtest.fitting import fit_policies
    from perfopt.backtest.run import AbsentServiceError
    from perfopt.cli.options import open_batch
    from perfopt.cli.output.progress import progress_bar
    from perfopt.engine.engine import BASE_METRICS
    from perfopt.evaluation.baselines import BASELINE_METRICS

    request = options.schedule()
    at = request.until if request.until is not None else await source.latest()
    inventory = await source.inventory(at)
    workloads = options.workloads(inventory)
    metrics = BASELINE_METRICS | BASE_METRICS
    if engine is not None:
        metrics |= engine.metrics(options.types)
    results = []
    with open_batch(config) as batch:
        if options.fitted():
            fitted = options.fitted()
            learnt = await fit_policies(fitted, source, inventory, workloads, request, config, batch)
            policies = (*policies, *learnt)
        with progress_bar(len(workloads), label="evaluating") as progress:
            async for result in backtest_services(
                source, workloads, request, policies, config, metrics, batch
            ):
                if result.error is not None and not isinstance(result.error, AbsentServiceError):
                    click.echo(f"Error: {result.workload.service_name}: {result.error.explained}", err=True)
                results.append(result)
                progress.advance()
    return results


async def _write_page(path: Path, result: "BacktestResult", source: "MetricSource") -> None:
    from perfopt.backtest import read_miss_series
    from perfopt.backtest.page import render_page

    series = await read_miss_series(source, result)
    write_text(path, render_page(result, series), "html")
