"""`perfopt schedule`: has the service analyse fleets again and again."""

from pathlib import Path
from typing import Any

import click

from perfopt.cli.options import format_option
from perfopt_api.commands.fleets import fleet_request, selector_options
from perfopt_api.commands.service import service_client, service_options


@click.group()
def schedule() -> None:
    """Have the service analyse workloads again and again."""


@schedule.command("create")
@click.argument("name")
@click.option("--cron", required=True, help="Minute, hour, day, month, weekday, such as '0 2 * * *'.")
@click.option("--time-zone", default="UTC", show_default=True, help="In which --cron counts.")
@selector_options
@service_options
def create(
    name: str, cron: str, time_zone: str, server: str, token_file: Path | None, **options: Any
) -> None:
    """Analyse all workloads that match whenever --cron fires."""
    analysis = {key: value for key, value in fleet_request(options).items() if value is not None}
    with service_client(server, token_file) as client:
        created = client.post("/schedules", name=name, cron=cron, time_zone=time_zone, analysis=analysis)
    click.echo(f"{created['name']}: next at {created['next_at']}")


@schedule.command("list")
@format_option("table", "json")
@service_options
def list_schedules(form: str, server: str, token_file: Path | None) -> None:
    """List schedules with their next and last firing."""
    from perfopt.cli.output.render import table, to_json

    with service_client(server, token_file) as client:
        known = client.get("/schedules")
    if form == "json":
        click.echo(to_json(known), nl=False)
        return
    rows = [
        (
            one["name"],
            one["cron"],
            one["time_zone"],
            one["next_at"],
            one.get("last_at") or "",
            one.get("last_job_id") or "",
        )
        for one in known
    ]
    click.echo(table(("NAME", "CRON", "TIME ZONE", "NEXT", "LAST", "LAST JOB"), rows), nl=False)


@schedule.command("delete")
@click.argument("name")
@service_options
def delete(name: str, server: str, token_file: Path | None) -> None:
    """Delete a schedule; a job that it started goes on."""
    with service_client(server, token_file) as client:
        client.delete(f"/schedules/{name}")
    click.echo(f"Deleted {name}.")
