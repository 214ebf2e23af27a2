"""`perfopt train`: a sizing model learnt from the user's own fleet."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import config_option, load, named_services, service_options, source_options

if TYPE_CHECKING:
    from perfopt.learn.examples import Series
    from perfopt.learn.model import SizingModel
    from perfopt.sources.base import MetricSource


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from.

    Attributes:
        names: of services; None is all.
        until: nothing at or after it is read; None is the source's own end.
        history: how far before it is read.
        validity: how long sizes must mostly hold.
    """

    names: tuple[str, ...] | None
    until: datetime | None
    history: timedelta
    validity: timedelta


@click.command()
@source_options
@service_options("learn from")
@click.option("--until", help="Learn from what was known before it; the last sample otherwise.")
@click.option("--history", default="90d", show_default=True, help="How far before that: 90d, P90D.")
@click.option("--validity", default="7d", show_default=True, help="How long sizes must mostly hold.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Model file.")
@config_option
def train(
    source: str | None,
    services: Path | None,
    names: tuple[str, ...],
    everything: bool,
    until: str | None,
    history: str,
    validity: str,
    out: Path,
    config_file: Path | None,
) -> None:
    """Learns from a fleet how much room a history calls for, and writes a sizing model.

    Prints how the model does on services it did not see, and the file's SHA-256: the same samples give the
    same bytes. Needs the extra perfopt[learn]; using the model does not.
    """
    from perfopt.domain.period import parse_duration, parse_instant
    from perfopt.errors import PerfoptError

    services_asked = named_services(names, everything)
    if not _can_train():
        raise PerfoptError(
            "Training needs scikit-learn, which is not installed.",
            remedy="Install it with `pip install perfopt[learn]`.",
        )
    lesson = Lesson(
        names=services_asked,
        until=None if until is None else parse_instant(until, field="until"),
        history=parse_duration(history, field="history"),
        validity=parse_duration(validity, field="validity"),
    )
    model = asyncio.run(_train(lesson, source, services, config_file))
    digest = model.save(out)
    click.echo(_shown(model, digest, out), nl=False)


def _can_train() -> bool:
    """Returns whether scikit-learn is installed, without importing it: that takes a second."""
    try:
        return find_spec("sklearn") is not None
    except ValueError:  # a name that was blocked has no specification
        return False


async def _train(
    lesson: Lesson, spec: str | None, services: Path | None, config_file: Path | None
) -> "SizingModel":
    from perfopt.domain.period import format_instant
    from perfopt.learn.build import build
    from perfopt.learn.examples import collect, samplings
    from perfopt.sources.factory import open_source

    source = open_source(spec, load(config_file), services)
    try:
        end = lesson.until if lesson.until is not None else await source.latest()
        series = [one async for one in _series(source, lesson, end)]
    finally:
        await source.close()
    return build(
        collect(series, samplings(lesson.validity)),
        name="fleet",
        version=f"{end:%Y%m%d}",
        data=(f"{len(series)} containers of the source {source.name}",),
        command=f"perfopt train --until {format_instant(end)}",
        trained_until=format_instant(end),
    )


async def _series(source: "MetricSource", lesson: Lesson, end: datetime) -> "AsyncIterator[Series]":
    """Yields the containers of the services; those without samples are named on standard error."""
    from perfopt.domain.resolve import resolve_workload
    from perfopt.learn.fleet import METRICS, containers_of
    from perfopt.sources.base import FailedSnapshot

    inventory = await source.inventory(end)
    workloads = inventory if lesson.names is None else [resolve_workload(n, inventory) for n in lesson.names]
    async for found in source.snapshots(workloads, end - lesson.history, end, METRICS):
        if isinstance(found, FailedSnapshot):
            click.echo(f"Left out: {found.workload.service_name}: {found.error.explained}", err=True)
            continue
        for series in containers_of(found):
            yield series


def _shown(model: "SizingModel", digest: str, out: Path) -> str:
    card = model.card
    lines = [
        f"{'learnt from':<27}{card.series} containers, {card.examples} examples, until {card.trained_until}",
        f"{'figures of':<27}{card.split}",
        *(f"{name:<27}{value:g}" for name, value in card.figures.items()),
        *(f"{f'least worth at cost {cost:g}':<27}{floor:g}" for cost, floor in card.floors),
        f"{'sha256':<27}{digest}",
        f"{'written to':<27}{out}",
    ]
    return "\n".join(lines) + "\n"
