"""Applies one recommendation without a service: policy, executor and verification in this process."""

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from perfopt.config import Config
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt.sources.factory import open_source
from perfopt_api.apply.executor import can_apply, open_cluster
from perfopt_api.apply.filestore import FileApplies, FileJob
from perfopt_api.apply.order import new_apply, order_of
from perfopt_api.apply.request import ApplyRecommendationRequest, refuse_outdated
from perfopt_api.apply.verification.settings import SECTION as VERIFICATION
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.jobs.applying import applying_by
from perfopt_api.policy.settings import policy_settings
from perfopt_api.store.apply_port import TimelineEntry

Show = Callable[[TimelineEntry], None]


def begin_job(
    config: Config,
    recommendation: OptimizationRecommendation,
    wish: ApplyRecommendationRequest,
    path: Path,
    show: Show,
    requester: str | None,
) -> FileApplies:
    """Writes the file of a new job.

    Args:
        config: with the policy.
        recommendation: the recommendation.
        wish: how to apply it.
        path: of the file.
        show: called with each entry of the timeline.
        requester: who asks.

    Raises:
        ConflictError: it is outdated, changes nothing that can be applied, or needs an approval.
    """
    now = datetime.now(UTC)
    refuse_outdated(wish, recommendation, now)
    if recommendation.requires_approval:
        raise ConflictError(
            f"{recommendation.recommendation_id} needs an approval of another.",
            remedy="Apply it by the service, where it can be given.",
        )
    verification = config.section(VERIFICATION, VerificationSettings)
    order = order_of(recommendation, wish, policy_settings(config), verification=verification)
    new = new_apply(order, recommendation, "", requester=requester, reason=wish.reason)
    job = FileJob(job_id=str(uuid4()), new=new, created_at=now, step=new.step, state=new.state)
    return FileApplies(path, job, show)


def work_on(config: Config, store: FileApplies) -> FileJob:
    """Works on a job until it has ended; SIGINT and SIGTERM have it taken back.

    Args:
        config: names the cluster, its metric source, and the policy.
        store: of the job.

    Raises:
        ConflictError: policy.apply is off.
    """
    if not can_apply(config):
        raise ConflictError(
            "Changes are switched off: policy.apply is off.",
            remedy="Set policy.apply to manual in the configuration, or --set policy.apply=manual.",
        )
    asyncio.run(_worked_on(config, store))
    return store.job


async def _worked_on(config: Config, store: FileApplies) -> None:
    ended = asyncio.Event()

    async def finished(_: str) -> None:
        ended.set()

    source = open_source(policy_settings(config).cluster, config)
    try:
        async with open_cluster(config) as cluster:
            runner = applying_by(config, cluster, source).runner_on(store, finished)

            def take_back() -> None:
                store.ask("rollback")
                runner.wake()

            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, take_back)
            while store.job.status is OptimizationStatus.APPLYING:
                await runner.round()
                waiting = asyncio.create_task(ended.wait())
                await asyncio.wait(
                    (waiting, asyncio.create_task(runner.pause())), return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
            await runner.stop()
    finally:
        await source.close()
