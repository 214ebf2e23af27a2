"""`perfopt worker`: takes jobs off the queue."""

from functools import partial
from pathlib import Path

import click

from perfopt.cli.options import config_option, load, settings_option


@click.command("worker")
@config_option
@settings_option
def worker(config_file: Path | None) -> None:
    """Run queued analyses and publish events.

    Run as many workers as you need.

    It stops on SIGTERM within ten seconds: what is not finished goes to another worker.
    """
    import uvloop

    from perfopt_api.jobs.wiring import run_worker
    from perfopt_api.logs import configure_logging
    from perfopt_api.serving import serve_worker_health
    from perfopt_api.settings import service_settings
    from perfopt_api.shutdown import EXIT_SECONDS, stop_on_signals
    from perfopt_api.tracing import configure_tracing

    config = load(config_file)
    settings = service_settings(config)
    configure_logging(settings)
    configure_tracing(settings, "perfopt-worker")

    async def run() -> None:
        stop = stop_on_signals(exit_within=EXIT_SECONDS)
        await run_worker(config, stop, partial(serve_worker_health, settings))

    uvloop.run(run())
