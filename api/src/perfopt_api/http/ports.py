"""What the controllers work with, put together in bootstrap.py."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from perfopt.config import Config
from perfopt.engine.registry import PluginInfo
from perfopt_api.http.plugincache import PluginCache
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.jobs.waiter import JobWaiter
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.port import Store


def utc_now() -> datetime:
    """Returns the present instant, UTC."""
    return datetime.now(UTC)


class Ports:
    """The ports of the API.

    Attributes:
        store, queue, waiter: jobs and recommendations, and who works on them.
        plugins: the installed plugins.
        config: knows the names of the metric sources.
        settings: of the service.
        now: the clock.
    """

    def __init__(
        self,
        *,
        store: Store,
        queue: JobQueue,
        waiter: JobWaiter,
        probe: Callable[[], Sequence[PluginInfo]],
        config: Config,
        settings: ServiceSettings,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = store
        self.queue = queue
        self.waiter = waiter
        self.plugins = PluginCache(probe)
        self.config = config
        self.settings = settings
        self.now = now
