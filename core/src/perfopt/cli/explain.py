"""`perfopt explain`: one recommendation in full, and a picture of the workload it is for."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from perfopt.cli.options import config_option, format_option, load, lookup_options, writable

if TYPE_CHECKING:
    from perfopt.cli.output.components import NamedComponents
    from perfopt.config import Config
    from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation
    from perfopt.metrics.snapshot import WorkloadSnapshot


@click.command()
@click.argument("recommendation")
@lookup_options
@format_option("table", "json")
@click.option("--html", type=click.Path(path_type=Path), help="Also draw it: write a page to this file.")
@click.option(
    "--source", "metrics", help="Where the metrics are, as for `perfopt analyze`: adds trend and season."
)
@click.option(
    "--services", type=click.Path(path_type=Path), help="With --source: YAML, as for `perfopt analyze`."
)
@click.option("--period", default="14d", show_default=True, help="History that is shown.")
@config_option
def explain(
    recommendation: str,
    server: str | None,
    source: BinaryIO,
    form: str,
    html: Path | None,
    metrics: str | None,
    services: Path | None,
    period: str,
    config_file: Path | None,
) -> None:
    """Show a RECOMMENDATION in full.

    Values, confidence, backtest, reasons and rules.

    It is looked up in a service or in printed results. With --source or --html the history of its workload is
    read again, up to the end of its validity where the source has it: trend, daily season and changes of cpu
    and memory are shown, and drawn on the page.
    """
    from perfopt.cli.lookup import alone, fetched, given_result, read_input
    from perfopt.domain.period import MAX_PERIOD, parse_duration

    result = (
        given_result(read_input(source), recommendation)
        if server is None
        else alone(fetched(server, recommendation))
    )
    (chosen,) = (one for one in result.recommendations if one.recommendation_id == recommendation)
    snapshot, parts = None, None
    if metrics is not None or html is not None:
        history = parse_duration(period, field="period", most=MAX_PERIOD)
        snapshot = asyncio.run(_history(result, metrics, services, load(config_file), history))
        parts = _components(snapshot)
    _print(chosen, parts, form)
    if html is not None and snapshot is not None:
        _draw(html, result, snapshot, parts)


def _components(snapshot: "WorkloadSnapshot") -> "list[NamedComponents] | None":
    from perfopt.cli.output.components import components_of

    try:
        return components_of(snapshot)
    except ImportError:
        click.echo(
            "Trend and season are left out: install them with `pip install perfopt[trends]`.", err=True
        )
        return None


def _print(chosen: "OptimizationRecommendation", parts: "list[NamedComponents] | None", form: str) -> None:
    """Prints a recommendation, and the components of its history where they are known."""
    import msgspec

    from perfopt.cli.lookup import alone
    from perfopt.cli.output.components import as_data, as_text
    from perfopt.cli.output.details import details
    from perfopt.cli.output.render import to_json
    from perfopt.cli.output.rules import explanation
    from perfopt.cli.output.terminal import TerminalScreen

    if form == "json":
        history = {} if parts is None else {"history": as_data(parts)}
        click.echo(to_json({**msgspec.to_builtins(chosen), **history}), nl=False)
        return
    screen = TerminalScreen.of_stdout()
    shown = explanation(chosen) + ("\n" + as_text(parts) if parts else "")
    click.echo(details([alone(chosen)], screen) + "\n" + screen.printable(shown), nl=False)


def _draw(
    html: Path, result: "AnalysisResult", snapshot: "WorkloadSnapshot", parts: "list[NamedComponents] | None"
) -> None:
    from perfopt.cli.output.components import as_html
    from perfopt.cli.output.page import to_page
    from perfopt.cli.output.render import AnalysisReport

    with writable(html, "html") as page:
        series = {result.workload: snapshot}
        page.write(to_page(AnalysisReport(results=(result,)), series, as_html(parts or ())))


async def _history(
    result: "AnalysisResult", spec: str | None, services: Path | None, config: "Config", period: timedelta
) -> "WorkloadSnapshot":
    """Reads what a workload used before and after it was analysed.

    Raises:
        NotFoundError: the source does not have it.
        SourceError: the source refuses, or has no sample of it.
    """
    from perfopt.cli.output.series import drawn_history
    from perfopt.sources.factory import open_source

    source = open_source(spec, config, services)
    try:
        return await drawn_history(source, result, period)
    finally:
        await source.close()
