"""`perfopt backtest --closed-loop`: policies of sizes re-analysed at a stride, on the history of services."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.backtest.selection import BacktestOptions, write_text

if TYPE_CHECKING:
    from perfopt.backtest import ScheduleRequest
    from perfopt.backtest.loop import LoopPolicy
    from perfopt.backtest.loop.run import ServiceLoop
    from perfopt.backtest.policies import Policy
    from perfopt.config import Config
    from perfopt.engine import Engine
    from perfopt.sources.base import MetricSource


def for_loop(options: BacktestOptions) -> BacktestOptions:
    """Returns the options with what a closed loop runs: sizes, and each policy once, whatever its rule.

    Raises:
        InvalidInputError: another type is named.
    """
    from perfopt.backtest.loop.policies import base_names
    from perfopt.domain.enums import OptimizationType
    from perfopt.errors import InvalidInputError

    sizes = OptimizationType.RESOURCE_OPTIMIZATION
    if sizes not in options.types:
        raise InvalidInputError(
            f"A closed loop is run with sizes, not with {', '.join(options.types)}.",
            field="types",
            remedy="Leave out --types, or give --types resource.",
        )
    return replace(options, types=(sizes,), policies=base_names(options.policies))


async def run_closed_loop(
    options: BacktestOptions,
    names: tuple[str, ...],
    source: "MetricSource",
    policies: "tuple[Policy, ...]",
    config: "Config",
    engine: "Engine | None",
    form: str,
    html: Path | None,
    rows_file: Path | None,
) -> None:
    """Runs the loops and prints the figures.

    Args:
        options: of `for_loop`.
        names: of the policies as the user named them.
        source: where the metrics are.
        policies: of the names without "+loop".
        config: effective configuration.
        engine: that strategies run in, if any takes part.
        form: "table" or "json".
        html: where to write a page, if anywhere.
        rows_file: where to write each service-day, if anywhere.
    """
    from perfopt.backtest.loop import summarise_loop
    from perfopt.backtest.loop.export import days_to_arrow
    from perfopt.backtest.loop.page import render_loop_page
    from perfopt.cli.output.closed_loop import to_loop_table
    from perfopt.cli.output.render import to_json
    from perfopt.report.files import write_table

    request = options.schedule()
    run, results = await _run(options, names, source, policies, request, config, engine)
    assert request.every is not None
    assert request.validity is not None
    result = summarise_loop(
        source.name, results, run, every=request.every, horizon=request.validity, history=request.history
    )
    for one in result.failed:
        click.echo(f"Error: {one.service}: {one.message}", err=True)
    if rows_file is not None:
        write_table(days_to_arrow([day for one in results for day in one.days]), rows_file, "rows")
    if html is not None:
        write_text(html, render_loop_page(result), "html")
    click.echo(to_json(result) if form == "json" else to_loop_table(result), nl=False)


async def _run(
    options: BacktestOptions,
    names: tuple[str, ...],
    source: "MetricSource",
    policies: "tuple[Policy, ...]",
    request: "ScheduleRequest",
    config: "Config",
    engine: "Engine | None",
) -> "tuple[tuple[LoopPolicy, ...], list[ServiceLoop]]":
    from perfopt.backtest.fitting import fit_policies
    from perfopt.backtest.loop import loop_policies, run_loops
    from perfopt.backtest.policies import OURS, StrategyPolicy
    from perfopt.cli.options import open_batch
    from perfopt.cli.output.progress import progress_bar
    from perfopt.engine.engine import BASE_METRICS
    from perfopt.evaluation.baselines import BASELINE_METRICS

    at = request.until if request.until is not None else await source.latest()
    inventory = await source.inventory(at)
    workloads = options.workloads(inventory)
    # A backtest within each of so many analyses would tell only how sure each is, at ten times the time.
    quick = [replace(one, backtested=False) if isinstance(one, StrategyPolicy) else one for one in policies]
    metrics = BASELINE_METRICS | BASE_METRICS
    if engine is not None:
        metrics |= engine.metrics(options.types)
    results = []
    with open_batch(config) as batch:
        fitted = await fit_policies(options.fitted(), source, inventory, workloads, request, config, batch)
        run = loop_policies(names, (*quick, *fitted), OURS)
        with progress_bar(len(workloads), label="running") as progress:
            async for result in run_loops(source, workloads, request, run, config, metrics, batch):
                results.append(result)
                progress.advance()
    return run, results
