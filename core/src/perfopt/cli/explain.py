"""`perfopt explain`: one recommendation in full, and a picture of the workload it is for."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from perfopt.cli.options import config_option, format_option, load, lookup_options, writable

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt.domain.recommendation import AnalysisResult
    from perfopt.metrics.snapshot import WorkloadSnapshot
    from perfopt.sources.base import MetricSource


@click.command()
@click.argument("recommendation")
@lookup_options
@format_option("table", "json")
@click.option("--html", type=click.Path(path_type=Path), help="Also draw it: write a page to this file.")
@click.option("--source", "metrics", help="With --html: where the metrics are, as for `perfopt analyze`.")
@click.option(
    "--services", type=click.Path(path_type=Path), help="With --html: YAML, as for `perfopt analyze`."
)
@click.option("--period", default="14d", show_default=True, help="With --html: history to draw.")
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

    It is looked up in a service or in printed results. With --html the history of its workload is read again
    and drawn, up to the end of its validity where the source has it.
    """
    from perfopt.cli.lookup import alone, fetched, given_result, read_input
    from perfopt.cli.output.details import details
    from perfopt.cli.output.render import AnalysisReport, to_json
    from perfopt.cli.output.rules import explanation
    from perfopt.cli.output.terminal import TerminalScreen
    from perfopt.domain.period import parse_duration

    found = (
        given_result(read_input(source), recommendation)
        if server is None
        else alone(fetched(server, recommendation))
    )
    (chosen,) = (one for one in found.recommendations if one.recommendation_id == recommendation)
    if form == "json":
        click.echo(to_json(chosen), nl=False)
    else:
        screen = TerminalScreen.of_stdout()
        click.echo(details([alone(chosen)], screen) + "\n" + screen.printable(explanation(chosen)), nl=False)
    if html is not None:
        from perfopt.cli.output.page import to_page

        with writable(html, "html") as page:
            history = parse_duration(period, field="period")
            snapshot = asyncio.run(_history(found, metrics, services, load(config_file), history))
            page.write(to_page(AnalysisReport(results=(found,)), {found.workload: snapshot}))


async def _history(
    found: "AnalysisResult", spec: str | None, services: Path | None, config: "Config", period: timedelta
) -> "WorkloadSnapshot":
    """Reads what a workload used before and after it was analysed.

    Raises:
        NotFoundError: the source does not have it.
        SourceError: the source refuses, or has no sample of it.
    """
    from perfopt.sources.factory import open_source

    source = open_source(spec, config, services)
    try:
        return await _read(source, found, period)
    finally:
        await source.close()


async def _read(source: "MetricSource", found: "AnalysisResult", period: timedelta) -> "WorkloadSnapshot":
    from perfopt.cli.output.series import DRAWN
    from perfopt.domain.resolve import resolve_workload
    from perfopt.errors import NoDataError
    from perfopt.sources.base import FailedSnapshot

    made_at = found.recommendations[0].made_at
    end = min(max(one.valid_until for one in found.recommendations), await source.latest())
    inventory = await source.inventory(end)
    known = [one for one in inventory if str(one.id) == found.workload]
    workload = known[0] if known else resolve_workload(found.service_name, inventory)
    async for item in source.snapshots([workload], made_at - period, max(end, made_at), DRAWN):
        if isinstance(item, FailedSnapshot):
            raise item.error
        return item
    raise NoDataError(f"The source {source.name} has no sample of {found.service_name}.")
