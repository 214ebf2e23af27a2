"""`perfopt worker`: takes jobs off the queue."""

from pathlib import Path

import click

from perfopt.cli.options import config_option, load, settings_option


@click.command("worker")
@config_option
@settings_option
def worker(config_file: Path | None) -> None:
    """Analyses what is asked of the API, and publishes the events. Run as many as you need.

    It stops on SIGTERM: running jobs get ten seconds, and what is left goes to another worker.
    """
    import uvloop

    from perfopt_api.jobs.wiring import run_worker
    from perfopt_api.logs import configure_logging
    from perfopt_api.settings import service_settings

    config = load(config_file)
    configure_logging(service_settings(config))
    uvloop.run(run_worker(config))
