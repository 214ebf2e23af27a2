"""`perfopt analyze`: recommendations over files or a Prometheus, without a service."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from perfopt.cli.options import (
    config_option,
    format_option,
    load,
    model_option,
    named_services,
    parse_types,
    service_options,
    settings_option,
    source_options,
    with_engine,
    writable,
)

if TYPE_CHECKING:
    from perfopt.cli.output.page import SeriesOf
    from perfopt.cli.output.render import AnalysisReport
    from perfopt.config import Config
    from perfopt.domain.enums import OptimizationType
    from perfopt.domain.recommendation import AnalysisResult
    from perfopt.domain.workload import Workload
    from perfopt.errors import PerfoptError
    from perfopt.sources.base import MetricSource

    type Answer = AnalysisResult | tuple[Workload, PerfoptError]

FAILED = 1


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """What to analyse.

    Attributes:
        names: of services; None is all.
        until: end of the period; None is the source's own.
    """

    names: tuple[str, ...] | None
    until: datetime | None
    period: timedelta
    validity: timedelta
    types: "tuple[OptimizationType, ...]"
    include_predictions: bool


@dataclass(frozen=True, slots=True)
class OutputDestination:
    """Where results go, and how.

    Attributes:
        form: the format.
        output: a file; None is standard output.
        html: a file for a page beside it; None is no page.
        rows: a file for a table of the fields that change; None is no file.
        verbose: whether a table is followed by everything there is to know.
    """

    form: str
    output: Path | None
    html: Path | None
    rows: Path | None
    verbose: bool

    @property
    def pictures(self) -> bool:
        """Whether what services used must be kept, to draw it."""
        return self.html is not None or self.form == "html"

    @contextlib.contextmanager
    def opened(self) -> "Iterator[Callable[[str], object]]":
        """Opens the file before anything is analysed, and gives what writes to it.

        Raises:
            InvalidInputError: a file can't be written.
        """
        with contextlib.ExitStack() as files:
            if self.html is not None:
                files.enter_context(writable(self.html, "html")).close()
            if self.output is None:
                yield lambda text: click.echo(text, nl=False)
            else:
                yield files.enter_context(writable(self.output, "output")).write

    def finish(self, report: "AnalysisReport", write: "Callable[[str], object]", series: "SeriesOf") -> None:
        """Writes what was not written yet."""
        from perfopt.cli.output.formats import rendered
        from perfopt.cli.output.terminal import TerminalScreen

        screen = TerminalScreen() if self.output is not None else TerminalScreen.of_stdout()
        if self.form != "ndjson":
            write(rendered(report, self.form, screen=screen, verbose=self.verbose, series=series))
        if self.rows is not None:
            from perfopt.report.files import write_table
            from perfopt.report.frames import to_arrow

            write_table(to_arrow(report.results), self.rows, "rows")
        if self.html is not None:
            page = rendered(report, "html", screen=TerminalScreen(), series=series)
            self.html.write_text(page, encoding="utf-8")


@click.command()
@source_options
@service_options("analyse")
@click.option("--until", help="End of the history, such as 2026-11-23T00:00:00Z; default: the last sample.")
@click.option("--period", default="14d", show_default=True, help="History: 14d, P14D or start/end.")
@click.option("--validity", default="7d", show_default=True, help="How long recommendations must hold.")
@click.option(
    "--types", "type_names", multiple=True, help="Optimization types, comma-separated; default: all."
)
@click.option("--include-predictions", is_flag=True, help="Put the forecasts on each recommendation.")
@format_option("table", "wide", "json", "ndjson", "yaml", "csv", "markdown", "html")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to this file, not to the terminal."
)
@click.option("-v", "--verbose", is_flag=True, help="With a table: every recommendation and reason in full.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page with pictures to this file.")
@click.option(
    "--rows",
    "rows_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write each field that changes to this .csv or .parquet file.",
)
@click.option(
    "--minimum-confidence",
    type=click.FloatRange(0, 1),
    help="Recommend no change of a lower confidence; the setting engine.minimum_confidence otherwise.",
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes; default: one per core.")
@model_option
@config_option
@settings_option
def analyze(
    source: str | None,
    services: Path | None,
    names: tuple[str, ...],
    everything: bool,
    until: str | None,
    period: str,
    validity: str,
    type_names: tuple[str, ...],
    include_predictions: bool,
    form: str,
    output: Path | None,
    verbose: bool,
    html: Path | None,
    rows_file: Path | None,
    minimum_confidence: float | None,
    processes: int | None,
    model: Path | None,
    config_file: Path | None,
) -> None:
    """Recommend what services need, from their history.

    Prints one table: a row for each field that changes, most valuable service first, then a line for each
    reason why nothing is recommended. Exit code 1 where a service named could not be analysed, or with --all
    any failed for another reason than having no samples in the period; the others are printed all the same.
    """
    from perfopt.domain.period import parse_validity

    selected = named_services(names, everything)
    length, end = _period(period, until)
    request = AnalyzeOptions(
        names=selected,
        until=end,
        period=length,
        validity=parse_validity(validity),
        types=parse_types(type_names),
        include_predictions=include_predictions,
    )
    config = with_engine(
        load(config_file), processes=processes, model=model, minimum_confidence=minimum_confidence
    )
    if rows_file is not None:
        _check_rows(rows_file, form)
    destination = OutputDestination(form, output, html, rows_file, verbose)
    if not asyncio.run(_run(request, source, services, config, destination)):
        raise click.exceptions.Exit(FAILED)


def _check_rows(path: Path, form: str) -> None:
    """Refuses a table of rows that can't be written, before anything is analysed."""
    from perfopt.report.files import check_format

    if form == "ndjson":
        raise click.UsageError("--rows has no effect with --format ndjson, which keeps no results.")
    check_format(path, "rows")
    writable(path, "rows").close()


def _period(period: str, until: str | None) -> tuple[timedelta, datetime | None]:
    from perfopt.domain.period import AnalysisPeriod, parse_instant
    from perfopt.errors import InvalidInputError

    parsed = AnalysisPeriod.parse(period, field="period")
    if until is None:
        return parsed.length, parsed.end
    if parsed.end is not None:
        raise InvalidInputError(
            f"The period {period!r} has an end already.", field="until", remedy="Leave one of the two out."
        )
    return parsed.length, parse_instant(until, field="until")


async def _run(
    request: AnalyzeOptions,
    spec: str | None,
    services: Path | None,
    config: "Config",
    destination: OutputDestination,
) -> bool:
    """Analyses and prints; returns whether there was something to analyse and nothing failed."""
    from perfopt.cli.output.collect import ResultCollector
    from perfopt.cli.output.progress import progress_bar
    from perfopt.cli.output.series import SeriesRecorder
    from perfopt.sources.factory import open_source, source_config, with_price_books

    source: MetricSource = open_source(spec, config, services)
    recorder = SeriesRecorder(source) if destination.pictures else None
    priced = with_price_books(config, source_config(spec, config, services)[1])
    with destination.opened() as write:
        lines = write if destination.form == "ndjson" else None
        collector = ResultCollector(
            types=request.types, forgive_no_data=request.names is None, write_line=lines
        )
        try:
            mixed = lines is not None and sys.stdout.isatty()
            with progress_bar(shown=not mixed) as progress:
                async for item in _answers(request, recorder or source, priced, progress.expect):
                    collector.add(item)
                    progress.advance()
        finally:
            await source.close()
        destination.finish(collector.report(), write, recorder.series if recorder is not None else {})
    return collector.analysed and not collector.failed


async def _answers(
    request: AnalyzeOptions, source: "MetricSource", config: "Config", expect: "Callable[[int], object]"
) -> "AsyncGenerator[Answer]":
    from perfopt.analysis import analyze_fleet
    from perfopt.engine import Engine

    with await asyncio.to_thread(Engine.open, config) as engine:
        answers = analyze_fleet(
            source,
            engine,
            request.names,
            until=request.until,
            period=request.period,
            validity=request.validity,
            types=request.types,
            include_predictions=request.include_predictions,
            concurrency=engine.processes + 1,  # one waits while the rest run
            expect=expect,
        )
        async with contextlib.aclosing(cast("AsyncGenerator[Answer]", answers)):
            async for item in answers:
                yield item
