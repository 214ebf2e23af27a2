"""What the controllers work with, put together in bootstrap.py."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from perfopt.config import Config
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.engine.registry import PluginInfo
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.http.denied import Write
from perfopt_api.http.plugincache import PluginCache
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.jobs.waiter import JobWaiter
from perfopt_api.policy.git import NO_REPOSITORIES, GitSettings
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.scaling.live import LiveDemand
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.apply_port import ApplyRequests
from perfopt_api.store.models import RegisteredModel
from perfopt_api.store.port import MAX_LIMIT, JobStore
from perfopt_api.store.schedule_port import ScheduleStore

Checks = Mapping[str, Callable[[], Awaitable[None]]]
"""What must answer before a process counts as ready, by name; each raises UnavailableError."""


def utc_now() -> datetime:
    """Returns the present instant, UTC."""
    return datetime.now(UTC)


class ModelListing(Protocol):
    """What the API reads of the registry of models."""

    async def list_models(self, *, kind: str | None = None) -> tuple[RegisteredModel, ...]:
        """Lists the models by kind, newest version first; raises UnavailableError."""


async def all_recommendations(store: JobStore, **wanted: Any) -> list[OptimizationRecommendation]:
    """Returns every page of a listing; see Store.list_recommendations for what may be wanted."""
    recommendations: list[OptimizationRecommendation] = []
    cursor = None
    while True:
        page = await store.list_recommendations(**wanted, cursor=cursor, limit=MAX_LIMIT)
        recommendations += page.items
        cursor = page.next_cursor
        if cursor is None:
            return recommendations


class ApiPorts:
    """The ports of the API.

    Attributes:
        checks: what readiness looks at.
        store, queue, waiter: jobs and recommendations, and who works on them.
        plugins: the installed plugins.
        models: the registry of models.
        live: the latest minutes of services.
        config: knows the names of the metric sources.
        settings: of the service.
        applies: jobs that apply something.
        schedules: when fleets are analysed again.
        policy: whether, when and how far changes are made.
        git: repositories that manifests are committed to.
        auth: knows who asks.
        note_denied: adds a denied call to the audit; None where there is none.
        executor: whether this version and configuration can change a cluster.
        now: the clock.
    """

    def __init__(
        self,
        *,
        checks: Checks,
        store: JobStore,
        queue: JobQueue,
        waiter: JobWaiter,
        models: ModelListing,
        live: LiveDemand,
        probe: Callable[[], Sequence[PluginInfo]],
        config: Config,
        settings: ServiceSettings,
        applies: ApplyRequests,
        schedules: ScheduleStore,
        policy: PolicySettings,
        auth: Authenticator | None = None,
        note_denied: Write | None = None,
        executor: bool = False,
        git: GitSettings = NO_REPOSITORIES,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.checks = checks
        self.store = store
        self.queue = queue
        self.waiter = waiter
        self.models = models
        self.live = live
        self.plugins = PluginCache(probe)
        self.config = config
        self.settings = settings
        self.applies = applies
        self.schedules = schedules
        self.policy = policy
        self.auth = auth or Authenticator(settings, now=now)
        self.note_denied = note_denied
        self.executor = executor
        self.git = git
        self.now = now
