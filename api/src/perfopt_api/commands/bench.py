"""`perfopt bench`: what the service costs on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import config_option, format_option, load, parse_types, settings_option

if TYPE_CHECKING:
    from perfopt_api.bench.fleet import FleetFigures

_GOAL = 10_000


@click.group()
def bench() -> None:
    """Measure the service on this machine."""


@bench.command("fleet")
@click.option("--services", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    multiple=True,
    default=(1, 2),
    show_default=True,
    help="Worker processes; repeatable, one run each.",
)
@click.option("--types", "types", multiple=True, help="Types, comma-separated; default: all.")
@format_option("table", "ndjson")
@config_option
@settings_option
def fleet(
    services: int, workers: tuple[int, ...], types: tuple[str, ...], form: str, config_file: Path | None
) -> None:
    """Analyse simulated services with an embedded PostgreSQL and NATS and real workers.

    Their traces are those of real virtual machines, scaled and shifted.
    """
    import msgspec

    from perfopt_api.bench.fleet import bench_fleet

    def show(figures: "FleetFigures") -> None:
        click.echo(msgspec.json.encode(figures).decode() if form == "ndjson" else figures_line(figures))

    bench_fleet(services, workers, parse_types(types), load(config_file), show)


def figures_line(figures: "FleetFigures") -> str:
    """Returns figures as one line."""
    hours = _GOAL / figures.services_per_hour
    return (
        f"{figures.services} services, {figures.workers} workers: {figures.seconds:.0f} s,"
        f" {figures.services_per_hour:,.0f} services an hour ({_GOAL:,} in {hours:.1f} h);"
        f" {figures.cpu_seconds:.2f} s of CPU and {figures.stored_bytes / 1024:.0f} KiB stored a service;"
        f" {figures.peak_mib:.0f} MiB a worker at most;"
        f" {figures.analysed} analysed, {figures.failed} failed, {figures.recommendations} recommendations"
    )
