"""`perfopt train`: a model of an installed kind, learnt from the user's own services."""

import asyncio
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perfopt.cli.options import config_option, executor_option, load, open_batch, source_options, with_engine

if TYPE_CHECKING:
    from perfopt.batch import BatchExecutor
    from perfopt.cli.output.progress import ProgressReporter
    from perfopt.config import Config
    from perfopt.datasets import Split
    from perfopt.plugin import ModelKind, TrainedModel, Trainer, TrainingRequest, WorkloadSnapshot

# What differs from machine to machine, or stands in the model's card beside the command.
_NOT_IN_COMMAND = ("out", "check", "resume", "config_file", "data", "source", "services", "executor")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What to learn from.

    Attributes:
        source, services: as given to `--source` and `--services`.
        datasets: published traces in place of a source.
        step: of datasets; None is as recorded.
        split: half of the datasets.
        names: of services; None is all.
        without: names of services that are left out.
        until: nothing at or after it is read; None is the source's own end.
        history: how far before it is read; datasets are read from their beginning.
    """

    source: str | None
    services: Path | None
    datasets: tuple[Path, ...]
    step: timedelta | None
    split: "Split | None"
    names: tuple[str, ...] | None
    without: tuple[str, ...]
    until: datetime | None
    history: timedelta


@dataclass(frozen=True, slots=True)
class FetchedExamples:
    """What was read: examples in order of the services' names, and what they are of."""

    examples: Sequence[Any]
    until: datetime | None
    data: tuple[str, ...]

    @property
    def version(self) -> str:
        """Version of a model that has none of its own: the day until which was learnt, or 1."""
        return f"{self.until:%Y%m%d}" if self.until else "1"


@click.command()
@click.option("--what", required=True, metavar="KIND", help="Kind of model; `perfopt plugin list` has them.")
@source_options
@click.option(
    "--dataset",
    "datasets",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A published trace in Parquet in place of a source; may be given again.",
)
@click.option(
    "--step", default="5m", show_default=True, help="Step at which datasets are read: 1m, or `recorded`."
)
@click.option(
    "--split", type=click.Choice(("tune", "report")), help="Half of the datasets, by hash of a series' name."
)
@click.option("--all", "everything", is_flag=True, help="Learn from all services of the source.")
@click.option("--service", "names", multiple=True, help="Service to learn from; may be given again.")
@click.option("--without", multiple=True, help="Service to leave out; may be given again.")
@click.option("--until", help="Learn from what was known before it; the last sample otherwise.")
@click.option("--history", default="90d", show_default=True, help="How far before that: 90d, P90D.")
@click.option("--validity", default="7d", show_default=True, help="How long recommendations must hold.")
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="Option of the kind's training.")
@click.option("--name", default="fleet", show_default=True, help="Name of the model.")
@click.option("--model-version", help="Version of the model; the day until which it learnt otherwise.")
@click.option("--data", multiple=True, help="Source, licence and citation of the data, for the model's card.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Model file.")
@click.option(
    "--check",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Write nothing: compare with this model file; exit code 1 where the bytes differ.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for finished parts: after an interruption the same command goes on from them.",
)
@executor_option
@config_option
def train(
    what: str,
    source: str | None,
    services: Path | None,
    datasets: tuple[Path, ...],
    step: str,
    split: "Split | None",
    names: tuple[str, ...],
    everything: bool,
    without: tuple[str, ...],
    until: str | None,
    history: str,
    validity: str,
    given: tuple[str, ...],
    name: str,
    model_version: str | None,
    data: tuple[str, ...],
    out: Path | None,
    check: Path | None,
    resume: Path | None,
    executor: str | None,
    config_file: Path | None,
) -> None:
    """Train a model on your services and write it to a file.

    Prints how the model does on what it was not trained on, and the file's SHA-256: the same samples give
    the same bytes. Needs the extra perfopt[train].
    """
    from perfopt.domain.period import parse_duration, parse_instant
    from perfopt.engine.allowlist import left_out
    from perfopt.engine.training import load_kind, require_modules, training_options
    from perfopt.plugin.models import TrainingRequest

    config = with_engine(load(config_file), processes=None, model=None, executor=executor)
    kind, trainer = load_kind(what, left_out(config.engine))
    require_modules(kind.kind, (*trainer.modules, *(("pandas",) if datasets else ())))
    _require_usable(source, datasets, out, check)
    options = training_options(trainer, given)
    training_data = TrainingData(
        source=source,
        services=services,
        datasets=datasets,
        step=None if step == "recorded" else parse_duration(step, field="step"),
        split=split,
        names=_selected(trainer, names, everything),
        without=without,
        until=None if until is None else parse_instant(until, field="until"),
        history=parse_duration(history, field="history"),
    )
    request = TrainingRequest(
        name=name,
        version=model_version or "",
        data=data,
        command=_command(),
        validity=parse_duration(validity, field="validity"),
        options=options,
    )
    fetched, trained = _trained(trainer, training_data, config, request, resume)
    if out is not None:
        _write(out, trained)
    click.echo(_shown(kind, trained, fetched, out), nl=False)
    if check is not None:
        _compare(check, trained)


def _trained(
    trainer: "Trainer",
    data: TrainingData,
    config: "Config",
    request: "TrainingRequest",
    resume: Path | None,
) -> "tuple[FetchedExamples, TrainedModel]":
    """Reads what there is to learn from and trains; shows the progress of both."""
    from msgspec.structs import replace

    from perfopt.cli.output.progress import progress_reporter
    from perfopt.cli.resume import stored_in

    with progress_reporter() as progress, open_batch(config) as batch:
        fetched = _fetched(trainer, data, config, progress, batch)
        request = replace(
            request,
            version=request.version or fetched.version,
            data=request.data or fetched.data,
            trained_until=fetched.until,
            progress=progress,
            executor=batch.executor,
            once=request.once
            if resume is None
            else stored_in(resume, request.command, request.options, fetched.examples),
        )
        return fetched, trainer.train(fetched.examples, request)


def _selected(trainer: "Trainer", names: tuple[str, ...], everything: bool) -> tuple[str, ...] | None:
    from perfopt.cli.options import named_services

    if trainer.metrics:
        return named_services(names, everything)
    if names or everything:
        raise click.UsageError("This kind learns from no service: leave out --service and --all.")
    return None


def _command() -> str:
    """Returns the command without what differs from machine to machine: where files are."""
    context = click.get_current_context()
    words = ["perfopt", "train"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in _NOT_IN_COMMAND or value == parameter.get_default(context) or not value:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            shown = one.name if isinstance(one, Path) else str(one)
            words += parameter.opts[:1] if one is True else [parameter.opts[0], shown]
    return shlex.join(words)


def _fetched(
    trainer: "Trainer",
    data: TrainingData,
    config: "Config",
    progress: "ProgressReporter",
    batch: "BatchExecutor",
) -> FetchedExamples:
    if not trainer.metrics:
        return FetchedExamples((), data.until, ())
    if data.datasets:
        snapshots, end = _loaded(trainer, data, progress), data.until
        name = ", ".join(path.name for path in data.datasets)
    else:
        snapshots, end, name = asyncio.run(_fetch(trainer, data, config, progress))
    snapshots.sort(key=lambda one: str(one.workload.id))
    end = end or max((one.grid.end for one in snapshots), default=None)
    examples: list[Any] = []
    for number, prepared in enumerate(batch.map(trainer.examples, snapshots)):
        progress("preparing services", number, len(snapshots))
        examples += prepared
    return FetchedExamples(examples, end, (f"{len(snapshots)} services of {name}",))


def _loaded(trainer: "Trainer", data: TrainingData, progress: "ProgressReporter") -> list["WorkloadSnapshot"]:
    """Returns the series of the datasets; one of a name in two of them is two."""
    from perfopt.datasets import SIZED, load_trace
    from perfopt.domain.resolve import resolve_workload

    snapshots: list[WorkloadSnapshot] = []
    for path in data.datasets:
        for snapshot in load_trace(
            path, metrics={*SIZED, *trainer.metrics}, step=data.step, split=data.split, until=data.until
        ):
            snapshots.append(snapshot)
            progress("reading services", len(snapshots), None)
    inventory = list({one.workload.id: one.workload for one in snapshots}.values())
    names = [one.service_name for one in inventory] if data.names is None else data.names
    left_out = {resolve_workload(name, inventory).id for name in data.without}
    identities = {resolve_workload(name, inventory).id for name in names} - left_out
    return [one for one in snapshots if one.workload.id in identities]


async def _fetch(
    trainer: "Trainer", data: TrainingData, config: "Config", progress: "ProgressReporter"
) -> tuple[list["WorkloadSnapshot"], datetime, str]:
    from perfopt.sources.factory import open_source

    source = open_source(data.source, config, data.services)
    try:
        end = data.until if data.until is not None else await source.latest()
        return await _snapshots(trainer, source, data, end, progress), end, f"the source {source.name}"
    finally:
        await source.close()


async def _snapshots(
    trainer: "Trainer", source: Any, data: TrainingData, end: datetime, progress: "ProgressReporter"
) -> list["WorkloadSnapshot"]:
    """Returns the histories of the services; those that can't be read are named on standard error."""
    from perfopt.domain.resolve import resolve_workload
    from perfopt.sources.base import FailedSnapshot

    inventory = await source.inventory(end)
    workloads = inventory if data.names is None else [resolve_workload(n, inventory) for n in data.names]
    left_out = {resolve_workload(name, inventory).id for name in data.without}
    selected = [workload for workload in workloads if workload.id not in left_out]
    snapshots = []
    async for one in source.snapshots(selected, end - data.history, end, trainer.metrics):
        if isinstance(one, FailedSnapshot):
            click.echo(f"Left out: {one.workload.service_name}: {one.error.explained}", err=True)
        else:
            snapshots.append(one)
        progress("reading services", len(snapshots), len(selected))
    return snapshots


def _require_usable(
    source: str | None, datasets: tuple[Path, ...], out: Path | None, check: Path | None
) -> None:
    """Refuses two sources, and a path that can't be written to, before hours of training are spent."""
    from perfopt.errors import InvalidInputError

    if (out is None) == (check is None):
        raise click.UsageError("Give --out FILE to write a model, or --check FILE to compare with one.")
    if datasets and source is not None:
        raise InvalidInputError(
            "Both a source and a dataset are given.", field="--dataset", remedy="Give one."
        )
    if out is not None and (not out.parent.is_dir() or not os.access(out.parent, os.W_OK)):
        raise InvalidInputError(
            f"{out} can't be written: there is no folder {out.parent} to write to.",
            field="--out",
            remedy="Name a file in a folder.",
        )


def _write(out: Path, trained: "TrainedModel") -> None:
    from perfopt.errors import InvalidInputError

    try:
        out.write_bytes(trained.content)
    except OSError as error:
        raise InvalidInputError(
            f"{out} can't be written: {error.strerror}.", field="--out", remedy="Name a file in a folder."
        ) from error


def _compare(known: Path, trained: "TrainedModel") -> None:
    """Reports whether a file has the same bytes as what was trained.

    Raises:
        PerfoptError: it does not.
        InvalidInputError: it can't be read.
    """
    from perfopt.engine.models import read_model_file, sha256
    from perfopt.errors import PerfoptError

    content = read_model_file(known)
    if content != trained.content:
        raise PerfoptError(
            f"{known} (SHA-256 {sha256(content)}) differs from what was trained.",
            remedy="Compare the command, the data and the versions of numpy, TensorFlow and scikit-learn with"
            " those of the model's card; other processors may round differently.",
        )
    click.echo(f"{known} has the same bytes.")


def _shown(kind: "ModelKind", trained: "TrainedModel", fetched: FetchedExamples, out: Path | None) -> str:
    from perfopt.domain.period import format_instant
    from perfopt.engine.models import sha256

    until = "-" if fetched.until is None else format_instant(fetched.until)
    rows = [
        ("kind", f"{kind.kind}: {kind.description}"),
        ("learnt until", until),
        ("figures measured on", trained.measured),
        *((name, f"{value:g}") for name, value in trained.figures.items()),
        ("sha256", sha256(trained.content)),
        *([] if out is None else [("written to", str(out))]),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in rows)
