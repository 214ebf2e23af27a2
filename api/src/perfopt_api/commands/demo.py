"""`perfopt demo`: the whole service on samples of real services, shown to a person."""

import click


@click.command("demo")
@click.option("--exit", "leave", is_flag=True, help="End when everything was shown; otherwise stay up.")
@click.option("-v", "--verbose", is_flag=True, help="Every recommendation, reason and an event in full.")
def demo(leave: bool, verbose: bool) -> None:
    """Run the whole service on bundled samples.

    Analyses, stores, publishes, applies two changes on a simulated cluster, and shows the results.
    """
    from perfopt.cli.output.terminal import TerminalScreen
    from perfopt.config import Config
    from perfopt_api.demo.samples import third_party_plugins, with_samples, without_plugins
    from perfopt_api.demo.simulation import simulation
    from perfopt_api.demo.visitor import DemoClient
    from perfopt_api.logs import configure_logging
    from perfopt_api.settings import service_settings, with_service
    from perfopt_api.standalone import run_standalone

    left_out = third_party_plugins()
    samples = without_plugins(with_samples(Config()), left_out)
    plain = with_service(samples, port=0, log_level="error", log_json=False)
    configure_logging(service_settings(plain))
    click.echo("Starting PostgreSQL, NATS, a worker and the API on this machine ...")
    if left_out:
        click.echo(
            f"Left out, as not of this project: {', '.join(left_out)}; `perfopt analyze` asks all plugins."
        )
    with simulation() as simulated:
        config = simulated.configured(plain)
        screen = TerminalScreen.of_stdout()
        visitor = DemoClient(config, simulated, leave=leave, say=click.echo, screen=screen, verbose=verbose)
        run_standalone(config, None, visitor.start)
    visitor.finish()
    click.echo("Done; nothing is left running.")
