"""`perfopt analyze-fleet`: has the service analyse many workloads together."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from perfopt.cli.options import parse_types
from perfopt.errors import ConflictError
from perfopt_api.client import ServiceClient
from perfopt_api.commands.service import service_client, service_options

_LOOK_SECONDS = 1.0


def selector_options[F: Callable[..., Any]](command: F) -> F:
    """Adds the options that select workloads, and those of their analysis."""
    for option in reversed(
        (
            click.option("--cluster", help="Only of this cluster."),
            click.option("--namespace", help="Only of this namespace."),
            click.option("--kind", help="Only of this kind, such as deployment."),
            click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only labelled so."),
            click.option("--service", "names", multiple=True, help="Only this service; repeatable."),
            click.option("--types", "types", multiple=True, help="Types, comma-separated; default: all."),
            click.option("--period", default="14d", show_default=True, help="History, such as 14d."),
            click.option("--validity", default="7d", show_default=True, help="How long they must hold."),
            click.option("--source", help="Name of the metric source; default: the service's."),
            click.option("--auto-apply", is_flag=True, help="Apply what policy allows."),
        )
    ):
        command = option(command)
    return command


def fleet_request(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body that the options of `selector_options` state."""
    pairs = [label.partition("=") for label in options["labels"]]
    if wrong := next((name for name, equals, _ in pairs if not equals or not name), None):
        raise click.UsageError(f"--label takes NAME=VALUE, not {wrong!r}.")
    selector = {name: options[name] for name in ("cluster", "namespace", "kind") if options[name]}
    if pairs:
        selector["labels"] = {name: value for name, _, value in pairs}
    if options["names"]:
        selector["names"] = list(options["names"])
    types = [kind.value for kind in parse_types(options["types"])] if options["types"] else []
    return {
        "selector": selector,
        "optimization_types": types,
        "analysis_period": options["period"],
        "validity": options["validity"],
        "source": options["source"],
        "auto_apply": options["auto_apply"] or None,
    }


@click.command("analyze-fleet")
@selector_options
@click.option("--wait", is_flag=True, help="Wait to the end; status 1 where the job failed.")
@service_options
def analyze_fleet(wait: bool, server: str, token_file: Path | None, **options: Any) -> None:
    """Have the service analyse all workloads that match.

    Prints the job. `perfopt jobs --fleet JOB` lists its analyses, `perfopt cancel JOB` stops it.
    """
    with service_client(server, token_file) as client:
        job = client.post("/analyze/fleet", **fleet_request(options))
        click.echo(job["job_id"])
        if wait:
            _follow(client, job["job_id"])


def _follow(client: ServiceClient, job_id: str) -> None:
    """Waits for the end of a fleet's job and prints what came of it."""
    from perfopt.cli.output.progress import progress_reporter

    with progress_reporter() as report:
        while True:
            job = client.get(f"/jobs/{job_id}")
            progress = _progress(job)
            done = progress["analysed"] + progress["failed"]
            report("analysing", done, progress["workloads"] or None)
            if job["status"] != "ANALYZING":
                break
            time.sleep(_LOOK_SECONDS)
    click.echo(summary(job))
    if job["status"] == "FAILED":
        raise ConflictError((job.get("error") or {}).get("message", "The analysis failed."))


def _progress(job: Mapping[str, Any]) -> dict[str, Any]:
    return dict(job.get("progress") or {"workloads": 0, "analysed": 0, "failed": 0})


def summary(job: Mapping[str, Any]) -> str:
    """Returns one line of what a fleet's job came to."""
    progress = _progress(job)
    return (
        f"{job['status']}: {progress['workloads']} workloads, {progress['analysed']} analysed"
        f" ({progress.get('unchanged', 0)} unchanged), {progress['failed']} failed,"
        f" {progress.get('recommendations', 0)} recommendations"
    )
