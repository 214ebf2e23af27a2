"""`perfopt plugin run`: one strategy on real history, with the whole traceback where it fails."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perfopt.cli.options import config_option, format_option, load, settings_option, source_options

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt.domain.recommendation import Declined
    from perfopt.engine import Engine
    from perfopt.metrics.snapshot import WorkloadSnapshot
    from perfopt.plugin import Proposal, Strategy
    from perfopt.sources.base import MetricSource

FAILED = 1


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run on.

    Attributes:
        names: of services; empty is all.
        until: end of the history; None is the source's own.
    """

    names: tuple[str, ...]
    until: datetime | None
    period: timedelta
    validity: timedelta


@click.command("run")
@click.argument("strategy")
@source_options
@click.option(
    "--service", "names", multiple=True, help="Service to run on; may be given again; all otherwise."
)
@click.option("--until", help="End of the history, such as 2026-11-23T00:00:00Z; the last sample otherwise.")
@click.option("--period", default="14d", show_default=True, help="Length of the history: 14d or P14D.")
@click.option("--validity", default="7d", show_default=True, help="How long the proposal must hold.")
@config_option
@settings_option
@format_option("text", "json")
def run_strategy(
    strategy: str,
    source: str | None,
    services: Path | None,
    names: tuple[str, ...],
    until: str | None,
    period: str,
    validity: str,
    config_file: Path | None,
    form: str,
) -> None:
    """Run STRATEGY in this process.

    Prints its proposal, or why it abstains.

    STRATEGY is plugin/strategy, a plugin that has one, or what an entry point would name
    (package.module:Class). Its result is checked, and neither rules nor a backtest follow. Where it, its
    import or the check fails, the traceback is printed and the exit code is 1.
    """
    from perfopt.domain.period import MAX_PERIOD, parse_duration, parse_instant, parse_validity

    request = RunRequest(
        names=names,
        until=None if until is None else parse_instant(until, field="until"),
        period=parse_duration(period, field="period", most=MAX_PERIOD),
        validity=parse_validity(validity),
    )
    key, loaded = _loaded(strategy)
    if not asyncio.run(_run(key, loaded, request, source, services, load(config_file), form)):
        raise click.exceptions.Exit(FAILED)


def _loaded(text: str) -> "tuple[str, Strategy]":
    from perfopt.engine.authoring import find_strategy
    from perfopt.engine.brought import ContributionError
    from perfopt.engine.strategies import strategy_problem
    from perfopt.errors import InvalidInputError, PerfoptError

    try:
        key, strategy = find_strategy(text)
    except (PerfoptError, KeyboardInterrupt):
        raise
    except ContributionError as error:
        raise InvalidInputError(str(error), field="strategy") from error
    except BaseException as error:  # foreign code may raise anything, SystemExit too
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        raise click.exceptions.Exit(FAILED) from error
    problem = strategy_problem(strategy)
    if problem is not None:
        raise InvalidInputError(problem, field="strategy")
    return key, strategy


async def _run(
    key: str,
    strategy: "Strategy",
    request: RunRequest,
    spec: str | None,
    services: Path | None,
    config: "Config",
    form: str,
) -> bool:
    """Runs on one service after the other; returns whether nothing failed."""
    from perfopt.engine import Engine
    from perfopt.plugin.forecasting import metric_of
    from perfopt.sources.factory import open_source, source_config, with_price_books

    source = open_source(spec, config, services)
    priced = with_price_books(config, source_config(spec, config, services)[1])
    succeeded = True
    try:
        with await asyncio.to_thread(Engine.open, priced) as engine:
            metrics = engine.metrics(()) | {*strategy.metrics, *map(metric_of, strategy.forecasts)}
            async for snapshot in _snapshots(source, request, metrics):
                result = None
                if snapshot is not None:
                    result = _result(key, strategy, snapshot, request.validity, engine)
                if snapshot is None or result is None:
                    succeeded = False
                    continue
                click.echo(_shown(key, snapshot, result, form), nl=False)
    finally:
        await source.close()
    return succeeded


async def _snapshots(
    source: "MetricSource", request: RunRequest, metrics: frozenset[str]
) -> "AsyncIterator[WorkloadSnapshot | None]":
    """Yields the histories; None for a service whose history can't be read, which is printed."""
    from perfopt.domain.resolve import resolve_workload
    from perfopt.sources.base import FailedSnapshot

    end = request.until if request.until is not None else await source.latest()
    inventory = await source.inventory(end)
    workloads = [resolve_workload(name, inventory) for name in request.names] or inventory
    async for answer in source.snapshots(workloads, end - request.period, end, metrics):
        if isinstance(answer, FailedSnapshot):
            click.echo(f"Error: {answer.workload.service_name}: {answer.error.explained}", err=True)
            yield None
        else:
            yield answer


def _result(
    key: str, strategy: "Strategy", snapshot: "WorkloadSnapshot", validity: timedelta, engine: "Engine"
) -> "Proposal | Declined | None":
    """Returns what the strategy gives; None where it failed, which is printed with its traceback."""
    from perfopt.engine.authoring import run_in_process
    from perfopt.engine.proposals import ProposalError

    service = snapshot.workload.service_name
    try:
        return run_in_process(strategy, key.partition("/")[0], snapshot, validity, engine)
    except KeyboardInterrupt:
        raise
    except ProposalError as error:
        click.echo(f"Error: {service}: the strategy {error}.", err=True)
    except BaseException as error:  # foreign code may raise anything, SystemExit too
        click.echo(f"Error: {service}: the strategy raised {type(error).__name__}.", err=True)
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    return None


def _shown(key: str, snapshot: "WorkloadSnapshot", result: "Proposal | Declined", form: str) -> str:
    import msgspec

    from perfopt.plugin import Declined

    service = snapshot.workload.service_name
    if form == "json":
        kind = "abstained" if isinstance(result, Declined) else "proposal"
        line = {"service_name": service, "strategy": key, kind: result}
        return msgspec.json.encode(line).decode() + "\n"
    head = f"{service}  {key}  {result.optimization_type.value}\n"
    if isinstance(result, Declined):
        return f"{head}  abstained: {result.code.value}: {result.reason}\n"
    return head + _proposal(snapshot, result)


def _proposal(snapshot: "WorkloadSnapshot", proposal: "Proposal") -> str:
    from perfopt.report.changes import changed_fields

    changed = changed_fields(snapshot.workload.state.to_map(), proposal.target.to_map())
    lines = [
        proposal.description,
        *(f"{label}: {_text(before)} -> {_text(after)}" for label, (before, after) in changed.items()),
        *([] if changed else ["no change"]),
        *(f"expected {name}: {value}" for name, value in proposal.claim.to_map().items()),
        *(f"because {reason.code}: {reason.text}" for reason in proposal.reasons),
    ]
    return "".join(f"  {line}\n" for line in lines)


def _text(value: Any) -> str:
    return "unset" if value is None else str(value)
