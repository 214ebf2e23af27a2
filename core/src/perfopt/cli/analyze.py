"""`perfopt analyze`: recommendations over files or a Prometheus, without a service."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
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
    source_options,
    with_engine,
)

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt.domain.enums import OptimizationType
    from perfopt.domain.recommendation import AnalysisResult
    from perfopt.domain.workload import Workload
    from perfopt.errors import PerfoptError
    from perfopt.sources.base import MetricSource

    type Answer = AnalysisResult | tuple[Workload, PerfoptError]

FAILED = 1


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks.

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


@click.command()
@source_options
@service_options("analyse")
@click.option("--until", help="End of the history, such as 2026-11-23T00:00:00Z; the last sample otherwise.")
@click.option("--period", default="14d", show_default=True, help="History: 14d, P14D or start/end.")
@click.option("--validity", default="7d", show_default=True, help="How long recommendations must hold.")
@click.option("--types", "type_names", multiple=True, help="Optimization types, with commas; all otherwise.")
@click.option("--include-predictions", is_flag=True, help="Put the forecasts on each recommendation.")
@format_option("table", "json", "ndjson", "yaml")
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes; one a core otherwise.")
@model_option
@config_option
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
    processes: int | None,
    model: Path | None,
    config_file: Path | None,
) -> None:
    """Recommends what services need, from their history.

    Exit code 1 where a service named could not be analysed, or with --all any failed for another
    reason than having no samples in the period; what was found for the others is printed all the same.
    """
    from perfopt.domain.period import parse_duration

    services_asked = named_services(names, everything)
    length, end = _period(period, until)
    question = Question(
        names=services_asked,
        until=end,
        period=length,
        validity=parse_duration(validity, field="validity"),
        types=parse_types(type_names),
        include_predictions=include_predictions,
    )
    config = with_engine(load(config_file), processes=processes, model=model)
    if not asyncio.run(_run(question, source, services, config, form)):
        raise click.exceptions.Exit(FAILED)


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
    question: Question, spec: str | None, services: Path | None, config: "Config", form: str
) -> bool:
    """Analyses and prints; returns whether nothing failed."""
    from perfopt.cli.output.collect import Output
    from perfopt.cli.output.progress import progress_bar
    from perfopt.sources.factory import open_source, source_config, with_price_books

    source = open_source(spec, config, services)
    priced = with_price_books(config, source_config(spec, config, services)[1])
    output = Output(form, types=question.types, forgive_no_data=question.names is None)
    try:
        watched = sys.stderr.isatty() and not (form == "ndjson" and sys.stdout.isatty())
        total = await _total(question, source) if watched else None
        with progress_bar(total, shown=watched) as advance:
            async for item in _answers(question, source, priced):
                output.add(item)
                advance()
    finally:
        await source.close()
    output.finish()
    return not output.failed


async def _total(question: Question, source: "MetricSource") -> int:
    """Returns how many services there are to analyse."""
    if question.names is not None:
        return len(question.names)
    return len(await source.inventory(question.until or await source.latest()))


async def _answers(question: Question, source: "MetricSource", config: "Config") -> "AsyncGenerator[Answer]":
    from perfopt.analysis import analyze_fleet
    from perfopt.engine import Engine

    with await asyncio.to_thread(Engine.open, config) as engine:
        answers = analyze_fleet(
            source,
            engine,
            question.names,
            until=question.until,
            period=question.period,
            validity=question.validity,
            types=question.types,
            include_predictions=question.include_predictions,
            concurrency=engine.processes + 1,  # one waits while the rest run
        )
        async with contextlib.aclosing(cast("AsyncGenerator[Answer]", answers)):
            async for item in answers:
                yield item
