"""`perfopt serve`: the REST API, and on request everything it needs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfopt.cli.options import config_option, load, settings_given, settings_option

if TYPE_CHECKING:
    from perfopt.config import Config
    from perfopt_api.standalone import ServiceAddresses


@click.command("serve")
@config_option
@settings_option
@click.option("--host", help="Address to listen on; the setting service.host otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--migrate", is_flag=True, help="Bring the database to this version's schema first.")
@click.option(
    "--embedded",
    is_flag=True,
    help="Start PostgreSQL, NATS and a worker as well, all on this machine, with samples as metric sources"
    " where none is configured.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --embedded: where the data is kept; ./.perfopt otherwise.",
)
def serve(
    config_file: Path | None,
    host: str | None,
    port: int | None,
    migrate: bool,
    embedded: bool,
    data_dir: Path | None,
) -> None:
    """Serve the REST API until SIGINT or SIGTERM.

    Jobs are done by `perfopt worker`, which is a process of its own; with --embedded it is started too.
    """
    from perfopt_api.logs import configure_logging
    from perfopt_api.settings import service_settings, with_service
    from perfopt_api.tracing import configure_tracing

    if not embedded:
        _check_not_embedded(data_dir)
    config = with_service(load(config_file), host=host, port=port)
    configure_logging(service_settings(config))
    configure_tracing(service_settings(config), "perfopt-api")
    if embedded:
        _serve_embedded(config, data_dir)
    else:
        _serve(config, migrate)


def _check_not_embedded(data_dir: Path | None) -> None:
    """Refuses options that nothing would read."""
    from perfopt.config.loading import section_names

    if any(text.partition(".")[0] not in section_names() for text in settings_given()):
        raise click.UsageError(
            "--set of a plugin or the engine needs --embedded: give it to `perfopt worker`,"
            " which runs strategies."
        )
    if data_dir is not None:
        raise click.UsageError("--data-dir has no effect without --embedded.")


def _serve(config: "Config", migrate: bool) -> None:
    import uvloop

    from perfopt_api.serving import migrate_first, serve_api
    from perfopt_api.shutdown import EXIT_SECONDS, stop_on_signals

    async def run() -> None:
        if migrate:
            await migrate_first(config)
        stop = stop_on_signals(exit_within=EXIT_SECONDS)
        await serve_api(config, stop, lambda api: click.echo(f"The API listens on {api}."))

    uvloop.run(run())


def _serve_embedded(config: "Config", given: Path | None) -> None:
    from perfopt.engine.configure import check_settings
    from perfopt_api.demo.samples import with_samples
    from perfopt_api.standalone import default_data_dir, run_standalone

    check_settings(config)  # a worker that refuses them would be started again and again
    whole, data_dir = with_samples(config), (given or default_data_dir()).resolve()
    run_standalone(whole, data_dir, lambda addresses: _announce(addresses, whole, data_dir))


def _announce(addresses: "ServiceAddresses", config: "Config", data_dir: Path) -> None:
    click.echo(
        f"perfopt is up; stop it with Ctrl-C.\n"
        f"  API             {addresses.api}/api/v1/optimization\n"
        f"{_dashboard(addresses.api, config)}"
        f"  Documentation   {addresses.api}/docs\n"
        f"  PostgreSQL      {_place(addresses.servers.database_url)}\n"
        f"  NATS            {_place(addresses.servers.nats_url)}\n"
        f"  Credentials     {addresses.credentials}, for this user only; `perfopt doctor --config` reads it\n"
        f"  Metric sources  {', '.join(config.sources)}\n"
        f"  Data            {data_dir}"
    )


def _place(address: str) -> str:
    """Returns an address without its login, which is for no screen and no log."""
    return address.rpartition("@")[2]


def _dashboard(api: str, config: "Config") -> str:
    from perfopt_api.settings import service_settings

    return f"  Dashboard       {api}/ui\n" if service_settings(config).ui else ""
