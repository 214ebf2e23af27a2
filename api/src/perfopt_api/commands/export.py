"""`perfopt export`: what `perfopt analyze` printed as manifests in a directory, without a service."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from perfopt.cli.options import lookup_options

if TYPE_CHECKING:
    from perfopt.domain.recommendation import OptimizationRecommendation


@click.command("export")
@click.argument("recommendations", nargs=-1)
@lookup_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory; each recommendation gets a folder of its id in it.",
)
def export_changes(recommendations: tuple[str, ...], server: str | None, source: BinaryIO, out: Path) -> None:
    """Write RECOMMENDATIONS as patches, a kustomization and Helm values.

    All that `perfopt analyze --format json` printed and that change something, or those of the ids given.
    Nothing is changed in a cluster; the commands that would are printed.
    """
    from perfopt.errors import ConflictError
    from perfopt_api.apply.export import export
    from perfopt_api.apply.preview import at_once, first_step_of
    from perfopt_api.policy.settings import PolicySettings

    written = 0
    for recommendation in _recommendations(recommendations, server, source):
        if recommendation.no_change_needed and not recommendations:
            continue
        try:
            artifacts = export(recommendation)
        except ConflictError as error:
            click.echo(f"Left out: {recommendation.recommendation_id}: {error.explained}", err=True)
            continue
        _write(out / recommendation.recommendation_id, artifacts)
        written += 1
        click.echo(
            f"{recommendation.recommendation_id}  {recommendation.service_name}: {recommendation.description}"
        )
        first = first_step_of(recommendation, PolicySettings())
        if first is not None:
            click.echo(f"  {at_once(first['steps']).message}")
        for artifact in artifacts:
            click.echo(f"  {out / recommendation.recommendation_id / artifact['filename']}")
            if artifact["command"]:
                click.echo(f"    {artifact['command']}")
    if not written:
        click.echo("Nothing to export: no recommendation changes anything.", err=True)


def _recommendations(
    ids: Sequence[str], server: str | None, source: BinaryIO
) -> "list[OptimizationRecommendation]":
    from perfopt.cli.lookup import fetched, given, read_input

    if server is not None:
        if not ids:
            raise click.UsageError("With --server name the recommendations to export.")
        return [fetched(server, one) for one in ids]
    text = read_input(source)
    return [recommendation for one in (ids or (None,)) for recommendation in given(text, one)]


def _write(folder: Path, artifacts: Sequence[dict[str, Any]]) -> None:
    """Writes the files of one recommendation.

    Raises:
        InvalidInputError: the directory can't be written to.
    """
    from perfopt.errors import InvalidInputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in artifacts:
            (folder / artifact["filename"]).write_text(artifact["content"], encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{folder} can't be written: {error.strerror}.", field="--out", remedy="Name another directory."
        ) from error
