"""Puts the API together: settings, backends, ports, application. The worker's wiring is jobs/wiring.py."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence

from litestar import Litestar

from perfopt.config import Config
from perfopt.engine.allowlist import left_out
from perfopt.engine.registry import PluginInfo
from perfopt_api.apply.executor import can_apply
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.oidc import OidcVerifier
from perfopt_api.backends import ServiceBackends, open_backends
from perfopt_api.http.app import create_app
from perfopt_api.http.ports import ApiPorts
from perfopt_api.jobs.jetstream import JetStreamJobQueue
from perfopt_api.jobs.preflight import NatsPreflight
from perfopt_api.jobs.waiter import NatsJobWaiter
from perfopt_api.policy.git import git_settings
from perfopt_api.policy.settings import policy_settings
from perfopt_api.scaling.live import LiveDemand, sources_by_minute
from perfopt_api.settings import service_settings
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.backtests import PostgresBacktests
from perfopt_api.store.dashboard import PageStore
from perfopt_api.store.models import PostgresModels
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.refusals import PostgresRefusals
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.store.tokens import PostgresTokens
from perfopt_api.web.app import dashboard
from perfopt_api.web.permalinks import BrowserLinks
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.series import SeriesReader, sources_of
from perfopt_api.web.view import template_config

POOL_SIZE = 10


@contextlib.asynccontextmanager
async def open_app(config: Config) -> AsyncIterator[Litestar]:
    """Opens the backends and gives the application that stands on them.

    Args:
        config: the effective configuration.

    Raises:
        UnavailableError: PostgreSQL or NATS did not answer in time, or the schema is not this version's.
        InvalidInputError: a setting is wrong.
    """
    settings = service_settings(config)
    async with open_backends(settings, name="perfopt-api", pool_size=POOL_SIZE, bounded=True) as backends:
        live = LiveDemand(
            sources_by_minute(config),
            poll_seconds=settings.demand_poll_seconds,
            wait_seconds=settings.demand_wait_seconds,
        )
        series = SeriesReader(sources_of(config))
        try:
            ports = await _ports(config, backends, live)
            if not settings.ui:
                yield create_app(ports)
                return
            web = _pages(ports, backends, series)
            warming = asyncio.create_task(web.warm_up())
            warming.add_done_callback(_unread)
            try:
                yield create_app(ports, pages=dashboard(web), templates=template_config(), links=BrowserLinks)
            finally:
                warming.cancel()
                await web.pages.close()
        finally:
            await series.close()
            await live.close()


def _pages(ports: ApiPorts, backends: ServiceBackends, series: SeriesReader) -> WebPorts:
    database = backends.database
    return WebPorts(
        api=ports,
        pages=PageStore(database),
        series=series,
        backtests=PostgresBacktests(database),
        refusals=PostgresRefusals(database, base_url=ports.settings.base_url),
        preflight=NatsPreflight(backends.nats),
    )


def _unread(warming: "asyncio.Task[None]") -> None:
    """Takes the error of what was read ahead: the page that needs it reads it again, and shows its own."""
    if not warming.cancelled():
        warming.exception()


async def _ports(config: Config, backends: ServiceBackends, live: LiveDemand) -> ApiPorts:
    settings = service_settings(config)
    store = PostgresStore(backends.database, max_open_jobs=settings.max_open_jobs, base_url=settings.base_url)
    queue = JetStreamJobQueue(backends.nats, settings.job_stream)
    waiter = NatsJobWaiter(store, backends.nats, max_waiters=settings.max_waiters)
    await waiter.start()
    tokens = PostgresTokens(backends.database)
    oidc = None if settings.oidc is None else OidcVerifier(settings.oidc)
    return ApiPorts(
        checks={"postgresql": backends.readiness.check, "nats": queue.ping},
        store=store,
        queue=queue,
        waiter=waiter,
        models=PostgresModels(backends.database),
        live=live,
        probe=lambda: _probe(left_out(config.engine)),
        config=config,
        settings=settings,
        applies=PostgresApplyRequests(backends.database, base_url=settings.base_url),
        schedules=PostgresSchedules(backends.database),
        policy=policy_settings(config),
        git=git_settings(config),
        auth=Authenticator(settings, tokens, oidc),
        note_denied=tokens.note_denied,
        executor=can_apply(config),
    )


def _probe(disabled: Collection[str]) -> Sequence[PluginInfo]:
    from perfopt.engine.probe import probe_plugins  # spawns a process: the plugins stay out of this one

    return probe_plugins(disabled).plugins
