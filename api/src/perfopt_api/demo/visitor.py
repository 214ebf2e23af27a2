"""Runs the demo's visitor beside the service, which has the main thread, and ends the service after it."""

import asyncio
import os
import signal
import threading

from perfopt.cli.output.terminal import TerminalScreen
from perfopt.config import Config
from perfopt_api.demo.run import Say, visit
from perfopt_api.demo.simulation import Simulation
from perfopt_api.settings import with_service
from perfopt_api.standalone import ServiceAddresses


class DemoClient:
    """One visit in a thread.

    Args:
        config: of the service.
        simulation: the cluster that changes are made in.
        leave: end the service when the visit is over; otherwise only when it failed.
        say: prints one block.
        screen: what it is printed on.
        verbose: print every recommendation and reason in full.
    """

    def __init__(
        self,
        config: Config,
        simulation: Simulation,
        *,
        leave: bool,
        say: Say,
        screen: TerminalScreen,
        verbose: bool,
    ) -> None:
        self._config = config
        self._simulation = simulation
        self._leave = leave
        self._say = say
        self._screen = screen
        self._verbose = verbose
        self._error: Exception | None = None

    def start(self, addresses: ServiceAddresses) -> None:
        """Begins the visit; returns at once."""
        self._say(f"API {addresses.api}, documentation {addresses.api}/docs\n")
        threading.Thread(target=self._run, args=(addresses,), daemon=True).start()

    def finish(self) -> None:
        """Raises what the visit failed with, if it did."""
        if self._error is not None:
            raise self._error

    def _run(self, addresses: ServiceAddresses) -> None:
        try:
            asyncio.run(self._visit(addresses))
        except Exception as error:  # shown by the command, in the main thread
            self._error = error
        os.kill(os.getpid(), signal.SIGTERM)

    async def _visit(self, addresses: ServiceAddresses) -> None:
        servers = addresses.servers
        config = with_service(self._config, database_url=servers.database_url, nats_url=servers.nats_url)
        async with self._simulation.working(config):
            await visit(addresses, self._say, self._screen, verbose=self._verbose)
            if self._leave:
                return
            self._say("\nStill up; stop it with Ctrl-C.")
            self._say(f"  Dashboard {addresses.api}/ui\n  {servers.database_url}\n  {servers.nats_url}")
            await asyncio.Event().wait()  # changes can be asked for until the process ends
