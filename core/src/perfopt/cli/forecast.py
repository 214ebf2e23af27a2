"""`perfopt forecast compare`: what forecasters are worth on measured series."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.groups import SuggestingGroup
from perfopt.cli.options import config_option, format_option, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from perfopt.backtest.forecasts import ComparedForecaster
    from perfopt.config import Config
    from perfopt.datasets.series import MeasuredSeries
    from perfopt.plugin.forecasting import Forecaster


@click.group(cls=SuggestingGroup)
def forecast() -> None:
    """Compare forecasters."""


@forecast.command()
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    required=True,
    help="Series in Parquet: series_id, timestamp, metric, value.",
)
@click.option("--metric", help="Metric of the file, where it has several.")
@click.option(
    "--split",
    type=click.Choice(["report", "tune", "all"]),
    default="report",
    show_default=True,
    help="Half of the series: `tune` is what forecasters were fitted and chosen on.",
)
@click.option("--horizons", default="1h,1d,7d", show_default=True, help="How far, with commas.")
@click.option("--forecasters", "names", help="Names in order of preference, with commas; all otherwise.")
@click.option("--origins", type=click.IntRange(min=1), default=4, show_default=True, help="Of each series.")
@click.option("--most", type=click.IntRange(min=1), help="At most so many series.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Network of `fleet` in place of the shipped one."
)
@click.option("--block", help="Forecast the highest value of each block, such as 30m: what scaling plans by.")
@click.option("--absent-is-zero", is_flag=True, help="Read steps without a row as zero.")
@config_option
@format_option("table", "json")
def compare(
    dataset: Path,
    metric: str | None,
    split: str,
    horizons: str,
    names: str | None,
    origins: int,
    most: int | None,
    model: Path | None,
    block: str | None,
    absent_is_zero: bool,
    config_file: Path | None,
    form: str,
) -> None:
    """Compare forecasters at rolling origins.

    Alone, the one with the least loss on a week of the past, all weighted by that loss, and weighted without
    each. `hindsight` is no forecast: the distribution of what came, the same at every step.

    LOSS is that of quantiles over that of yesterday's values with their errors: under 1 is better than those.
    BY SERIES is its geometric mean over series; OF THE FIRST is over the loss of the first forecaster that
    can forecast a series; CPU MS is the CPU time of one forecast.
    """
    from perfopt.backtest.forecasts import compare as compared
    from perfopt.cli.output.progress import progress_reporter
    from perfopt.cli.output.render import to_json
    from perfopt.domain.period import parse_duration
    from perfopt.errors import NoDataError

    forecasters = _chosen(names, model, load(config_file))
    read = _read(dataset, metric, split, 0.0 if absent_is_zero else float("nan"))
    series = (read if block is None else _blocks(read, parse_duration(block, field="block")))[:most]
    lengths = [parse_duration(text.strip()) for text in horizons.split(",")]
    with progress_reporter() as report:

        def progress(done: int, total: int) -> None:
            report("forecasting series", done, total)

        rows = compared(series, lengths, forecasters, origins, progress)
    if not rows:
        raise NoDataError(
            f"None of {len(series)} series is long enough for a forecast of {horizons}.",
            field="--dataset",
            remedy="Give longer series, a shorter --horizons, or another --split.",
        )
    click.echo(to_json(rows) if form == "json" else _table(rows), nl=False)


def _chosen(names: str | None, model: Path | None, config: "Config") -> "list[Forecaster]":
    """Returns the installed forecasters that are named, or all.

    Raises:
        InvalidInputError: there is none of a name, or the model is none.
    """
    from perfopt.engine.allowlist import left_out
    from perfopt.engine.loading import load_plugins
    from perfopt.engine.models import read_model_file
    from perfopt.errors import InvalidInputError
    from perfopt.forecast import InstalledForecasters
    from perfopt.forecast.kind import ForecastKind

    models = {} if model is None else {"forecast": read_model_file(model)}
    for content in models.values():
        ForecastKind().load(content)
    registry = load_plugins(left_out(config.engine))
    installed = InstalledForecasters(registry.forecasters).with_models(models).installed
    chosen = [name.strip() for name in names.split(",")] if names else list(installed)
    unknown = [name for name in chosen if name not in installed]
    if unknown:
        raise InvalidInputError(
            f"There is no forecaster named {unknown[0]!r}.",
            field="forecasters",
            remedy=f"Installed: {', '.join(sorted(installed))}.",
        )
    return [installed[name] for name in chosen]


def _read(dataset: Path, metric: str | None, split: str, absent: float) -> "list[MeasuredSeries]":
    from perfopt.datasets.series import load_series
    from perfopt.errors import InvalidInputError

    series = [one for one in load_series(dataset, metric, absent=absent) if split in ("all", one.split)]
    if not series:
        raise InvalidInputError(
            f"No series of {dataset} with two samples or more is in the half {split!r}.",
            field="--split",
            remedy="Take --split all, or give another file.",
        )
    return series


def _blocks(series: "Sequence[MeasuredSeries]", length: "timedelta") -> "list[MeasuredSeries]":
    from perfopt.datasets.series import MeasuredSeries
    from perfopt.forecast.blocks import highest_in_blocks

    highest = ((one, *highest_in_blocks(one.values, one.grid, length)) for one in series)
    return [MeasuredSeries(one.name, grid, values) for one, values, grid in highest if values.size]


def _table(rows: "list[ComparedForecaster]") -> str:
    from perfopt.cli.output.render import table

    head = (
        "HORIZON",
        "FORECASTER",
        "SERIES",
        "ORIGINS",
        "LOSS",
        "LOSS BY SERIES",
        "OF THE FIRST",
        "IN 50/80/90 %",
        "CPU MS",
    )
    return table(
        head,
        [
            (
                f"{row.horizon_seconds / 3600:g}h",
                row.name,
                str(row.series),
                str(row.origins),
                f"{row.loss:.3f}",
                f"{row.loss_geometric:.3f}",
                f"{row.loss_of_first:.3f}",
                "/".join(f"{100 * share:.1f}" for share in row.coverage),
                f"{row.milliseconds:.0f}",
            )
            for row in rows
        ],
    )
