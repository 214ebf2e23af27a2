"""`perfopt doctor`: what is wrong with an installation, and what to do about it."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import config_option, format_option, load

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt_api.doctor import Diagnosis

_EXIT = 1


@click.command("doctor")
@format_option("table", "json")
@config_option
def doctor(form: str, config_file: Path | None) -> None:
    """Checks PostgreSQL, NATS, plugins, metric sources, the cluster and rights; exits with 1 where one fails.

    In a cluster run it in the pod whose rights and network are in question.
    """
    from perfopt.cli.output.render import to_json

    findings = asyncio.run(_examine(load(config_file), quiet=form == "json"))
    if form == "json":
        click.echo(to_json(findings), nl=False)
    if any(each.status == "failed" for each in findings):
        sys.exit(_EXIT)


async def _examine(config: "Config", *, quiet: bool) -> "list[Diagnosis]":
    from perfopt_api.doctor import examine

    diagnosis = []
    async for each in examine(config):
        diagnosis.append(each)
        if not quiet:
            click.echo(f"{each.status:8} {each.check}: {each.message}")
            if each.remedy is not None:
                click.echo(f"         {each.remedy}")
    return diagnosis
