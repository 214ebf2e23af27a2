"""Puts together what makes changes in a worker: executor, gates, machine, runner, and auto_apply."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from nats.aio.msg import Msg

from perfopt.config import Config
from perfopt.errors import InvalidInputError
from perfopt.sources.base import MetricSource
from perfopt_api.apply.cluster import Cluster
from perfopt_api.apply.context import LOOK_SECONDS, ApplyTools
from perfopt_api.apply.executor import can_apply, open_cluster
from perfopt_api.apply.gates import Facts, Gates
from perfopt_api.apply.http_gates import HttpGates
from perfopt_api.apply.machine import ApplyMachine
from perfopt_api.apply.overridden import AppliedWatch
from perfopt_api.apply.policyclock import PolicyTime
from perfopt_api.apply.preflight import PreflightReport, PreflightRequest, preflight_report
from perfopt_api.apply.runner import ApplyRunner, utc_now
from perfopt_api.apply.upkeep import TransientUpkeep
from perfopt_api.apply.verification.settings import MIN_STEPS, SECTION, VerificationSettings
from perfopt_api.apply.verification.source import SourceVerifier
from perfopt_api.apply.verifier import Verifier
from perfopt_api.backends import ServiceBackends
from perfopt_api.events.nats import JOB_SUBJECT
from perfopt_api.jobs.autoapply import AutoApplier, AutoApplySweep
from perfopt_api.jobs.demotion import StrategyDemotion
from perfopt_api.jobs.jetstream import FinishedJobs, JetStreamJobQueue
from perfopt_api.jobs.notifications import Notifier
from perfopt_api.jobs.outcomes import OpenSource
from perfopt_api.jobs.preflight import answer_preflights
from perfopt_api.policy.git import NO_REPOSITORIES, GitSettings, git_settings
from perfopt_api.policy.hooks import NO_HOOKS, HookSettings, hook_settings
from perfopt_api.policy.settings import PolicySettings, policy_settings
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_port import ApplyWork
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.realised import PostgresRealised


class Applying:
    """What a worker makes changes with.

    Args:
        cluster: where changes are made.
        verifier: judges them.
        settings: the policy.
        now: the clock.
        look_seconds: from one look at the pods' series to the next.
        hooks: other systems that are asked and told.
        git: repositories for verified changes.
    """

    def __init__(
        self,
        cluster: Cluster,
        verifier: Verifier,
        settings: PolicySettings,
        now: Callable[[], datetime] = utc_now,
        look_seconds: float = LOOK_SECONDS,
        hooks: HookSettings = NO_HOOKS,
        git: GitSettings = NO_REPOSITORIES,
    ) -> None:
        self._cluster = cluster
        self._verifier = verifier
        self._settings = settings
        self._now = now
        self._look_seconds = look_seconds
        self._hooks = hooks
        self._git = git
        self._time = PolicyTime(settings, now())

    def runner(
        self, backends: ServiceBackends, settings: ServiceSettings, relay: Callable[[], None]
    ) -> ApplyRunner:
        """Returns what works on apply jobs.

        Args:
            backends: PostgreSQL and NATS.
            settings: of the service.
            relay: has the events go out.
        """
        store = PostgresApplies(backends.database, base_url=settings.base_url)
        announcements = FinishedJobs(backends.nats)

        subscribed = False

        async def finished(job_id: str) -> None:
            relay()
            await announcements.announce(job_id)

        async def woken(message: Msg) -> None:
            runner.wake(message.subject.rpartition(".")[2])

        async def look(request: PreflightRequest) -> PreflightReport:
            await self._time.refresh(self._now())
            return await preflight_report(self._tools(store.facts), request, self._now())

        async def prepare() -> None:
            nonlocal subscribed
            if not subscribed:
                with backends.nats.translated():
                    await backends.nats.client.subscribe(f"{JOB_SUBJECT}.*", cb=woken)
                await answer_preflights(backends.nats, look)
                subscribed = True
            await self._time.refresh(self._now())

        runner = self.runner_on(store, finished, prepare, lease_seconds=settings.lease_seconds)
        return runner

    def runner_on(
        self,
        store: ApplyWork,
        finished: Callable[[str], Awaitable[None]],
        prepare: Callable[[], Awaitable[None]] | None = None,
        *,
        lease_seconds: float = 15.0,
    ) -> ApplyRunner:
        """Returns what works on the apply jobs of a store.

        Args:
            store: the jobs.
            finished: called with the id of each job that ended.
            prepare: called before each look for jobs; None reads the calendars only.
            lease_seconds: how long a job is held without being renewed.
        """
        machine = ApplyMachine(self._tools(store.facts))

        async def refresh() -> None:
            await self._time.refresh(self._now())

        return ApplyRunner(
            store,
            machine,
            finished,
            lease_seconds=lease_seconds,
            now=self._now,
            prepare=prepare or refresh,
        )

    def _tools(self, facts: Facts) -> ApplyTools:
        return ApplyTools(
            cluster=self._cluster,
            verifier=self._verifier,
            gates=Gates(self._cluster, self._verifier, self._settings, facts, self._time),
            settings=self._settings,
            look_seconds=self._look_seconds,
            hooks=HttpGates(self._hooks.gates),
            git=self._git,
        )

    def auto_sweep(self, backends: ServiceBackends, settings: ServiceSettings) -> AutoApplySweep:
        """Returns what applies analyses whose worker was lost."""
        return AutoApplySweep(PostgresApplyRequests(backends.database), self.auto(backends, settings))

    def upkeep(self, backends: ServiceBackends) -> TransientUpkeep:
        """Returns what keeps transient changes in force."""
        return TransientUpkeep(PostgresApplies(backends.database), self._cluster)

    def notifiers(self, backends: ServiceBackends, settings: ServiceSettings) -> tuple[Notifier, ...]:
        """Returns what tells other systems of events."""
        return tuple(
            Notifier(name, hook, backends.nats, settings.event_stream)
            for name, hook in self._hooks.notifications.items()
        )

    def overridden(self, backends: ServiceBackends) -> AppliedWatch:
        """Returns what sees that somebody changed what was applied."""
        return AppliedWatch(PostgresApplies(backends.database), self._cluster, self._now)

    def demotion(self, backends: ServiceBackends, settings: ServiceSettings) -> StrategyDemotion:
        """Returns what makes strategies advice only."""
        store = PostgresRealised(backends.database, base_url=settings.base_url)
        return StrategyDemotion(store, self._settings, pause_seconds=settings.outcome_poll_seconds)

    def auto(self, backends: ServiceBackends, settings: ServiceSettings) -> AutoApplier:
        """Returns what applies analyses with `auto_apply`."""
        return AutoApplier(
            self._settings,
            self._time,
            PostgresStore(backends.database),
            PostgresApplyRequests(backends.database, base_url=settings.base_url),
            JetStreamJobQueue(backends.nats, settings.job_stream).enqueue,
            self._now,
        )


@contextlib.asynccontextmanager
async def open_applying(config: Config, source: OpenSource) -> AsyncIterator[Applying | None]:
    """Gives what makes changes while the context is open; None where none may be made.

    Args:
        config: the effective configuration.
        source: opens a metric source by name.
    """
    if not can_apply(config):
        yield None
        return
    async with open_cluster(config) as cluster:
        yield applying_by(config, cluster, await source(policy_settings(config).cluster))


def applying_by(config: Config, cluster: Cluster, source: MetricSource) -> Applying:
    """Returns what makes changes by a configuration.

    Args:
        config: the effective configuration.
        cluster: where changes are made.
        source: of the metrics that they are verified by.

    Raises:
        InvalidInputError: the time to watch is too short for its steps.
    """
    settings, verification = policy_settings(config), config.section(SECTION, VerificationSettings)
    for name in ("verify_minutes", "alone_minutes"):
        minutes = getattr(settings, name)
        if minutes * 60 < MIN_STEPS * verification.step_seconds:
            raise InvalidInputError(
                f"{name} ({minutes:g}) must be at least {MIN_STEPS} steps of"
                f" verification.step_seconds ({verification.step_seconds} s): fewer show nothing.",
                field=f"policy.{name}",
                remedy="Watch for longer, or in shorter steps.",
            )
    verifier = SourceVerifier(source, verification)
    look_seconds = min(LOOK_SECONDS, verification.step_seconds)
    return Applying(
        cluster,
        verifier,
        settings,
        look_seconds=look_seconds,
        hooks=hook_settings(config),
        git=git_settings(config),
    )
