"""`perfopt fleet`: the cost of a cluster's nodes, currently and as recommended, with pods packed again."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import (
    config_option,
    format_option,
    load,
    parse_types,
    settings_option,
    source_options,
    with_engine,
)

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt.domain.enums import OptimizationType
    from perfopt.domain.price import PriceBook
    from perfopt.fleet import WorkloadStates
    from perfopt.sources.base import MetricSource


@click.command()
@source_options
@click.option("--until", help="End of the history, such as 2026-11-23T00:00:00Z; default: the last sample.")
@click.option("--period", default="14d", show_default=True, help="History to analyse.")
@click.option("--validity", default="7d", show_default=True, help="How long recommendations must hold.")
@click.option(
    "--types", "type_names", multiple=True, help="Optimization types, comma-separated; default: all."
)
@click.option("--price-book", help="A configured price book with node types, or example:NAME.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    help="Monthly budget for nodes: find the changes that keep it at minimum risk.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to search for them; the remaining gap is printed.",
)
@format_option("table", "json")
@click.option("--processes", type=click.IntRange(1, 1024), help="Worker processes; default: one per core.")
@config_option
@settings_option
def fleet(
    source: str | None,
    services: Path | None,
    until: str | None,
    period: str,
    validity: str,
    type_names: tuple[str, ...],
    price_book: str | None,
    budget: float | None,
    time_limit: float,
    form: str,
    processes: int | None,
    config_file: Path | None,
) -> None:
    """Show the nodes that a cluster takes.

    Currently and as recommended, and what they cost.

    The pods of all workloads are packed on the node types of the price book, before and after. Beside each
    packing stands the lower bound of its cost, and the gap to it. With a budget it lists which of the
    recommended changes are enough.
    """
    from perfopt.cli.output.fleet import fleet_text
    from perfopt.cli.output.render import to_json
    from perfopt.domain.period import MAX_PERIOD, parse_duration, parse_instant, parse_validity
    from perfopt.fleet import NodeBudget, fleet_view

    end = None if until is None else parse_instant(until, field="until")
    lengths = (
        parse_duration(period, field="period", most=MAX_PERIOD),
        parse_validity(validity),
    )
    config = with_engine(load(config_file), processes=processes, model=None)
    states, book = asyncio.run(
        _states(source, services, config, end, lengths, parse_types(type_names), price_book)
    )
    view = fleet_view(states, book, None if budget is None else NodeBudget(budget, time_limit))
    click.echo(to_json(view) if form == "json" else fleet_text(view), nl=False)


async def _states(
    spec: str | None,
    services: Path | None,
    config: "Config",
    until: datetime | None,
    lengths: tuple[timedelta, timedelta],
    types: "tuple[OptimizationType, ...]",
    price_book: str | None,
) -> "tuple[list[WorkloadStates], PriceBook]":
    """Analyses all workloads; one that can't be analysed counts with what it has."""
    from perfopt.analysis import analyze_fleet
    from perfopt.domain.recommendation import AnalysisResult
    from perfopt.engine import Engine
    from perfopt.fleet import WorkloadStates, states_of_result
    from perfopt.sources.factory import open_source, source_config, with_price_books

    priced = with_price_books(config, source_config(spec, config, services)[1])
    source = open_source(spec, config, services)
    try:
        end = until or await source.latest()
        book = await _book(price_book, priced, source, end)
        current = {str(known.id): known.state.to_map() for known in await source.inventory(end)}
        states = []
        with await asyncio.to_thread(Engine.open, priced) as engine:
            period, validity = lengths
            async for item in analyze_fleet(
                source,
                engine,
                until=end,
                period=period,
                validity=validity,
                types=types,
                concurrency=engine.processes + 1,
            ):
                if isinstance(item, AnalysisResult):
                    states.append(states_of_result(current.get(item.workload, {}), item))
                else:
                    name = str(item[0].id)
                    same = current.get(name, {})
                    states.append(WorkloadStates(workload=name, current=same, recommended=same))
        return states, book
    finally:
        await source.close()


async def _book(name: str | None, config: "Config", source: "MetricSource", at: datetime) -> "PriceBook":
    """Returns the book named, the one configured, or OpenCost's where only that has node types."""
    from perfopt.config.paths import suggestion
    from perfopt.config.prices import EXAMPLE, example_book
    from perfopt.domain.price import DEFAULT_PRICE_BOOK
    from perfopt.errors import InvalidInputError
    from perfopt.sources.prometheus.source import PrometheusSource

    if name is not None and name.startswith(EXAMPLE):
        return example_book(name)
    if name is not None and name not in config.price_books:
        known = tuple(config.price_books)
        raise InvalidInputError(
            f"There is no price book {name!r}.", field="price_book", remedy=suggestion(name, known)
        )
    book = config.price_books.get(name or config.price_book, DEFAULT_PRICE_BOOK)
    if name is None and not book.node_types and isinstance(source, PrometheusSource):
        measured = await source.price_books(at)
        return next(iter(measured.values()), book)
    return book
