"""Changes that the demo asks for: applied over HTTP and followed by their timeline, as any user would."""

import asyncio
from collections.abc import Callable

import httpx
import msgspec

from perfopt.cli.output.terminal import TerminalScreen
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.errors import UnavailableError
from perfopt_api.demo.show import show_end, show_entry
from perfopt_api.http.links import PREFIX
from perfopt_api.store.apply_port import TimelineEntry

CHANGE_SECONDS = 150.0
"""A change that has not ended by then is an error."""
_LOOK_SECONDS = 0.5


async def begin_change(http: httpx.AsyncClient, analysis: OptimizationJob) -> OptimizationJob:
    """Has the first recommendation of an analysis applied; returns the job that does so.

    Raises:
        UnavailableError: the analysis has none, or it was refused.
    """
    for recommendation in analysis.recommendations[:1]:
        body = {"mode": "canary", "reason": "demo"}
        answer = await http.post(
            f"{PREFIX}/recommendations/{recommendation.recommendation_id}/apply", json=body
        )
        if answer.status_code == httpx.codes.ACCEPTED:
            return msgspec.json.decode(answer.content, type=OptimizationJob)
        raise UnavailableError(f"{recommendation.recommendation_id} can't be applied: {answer.text}")
    raise UnavailableError(f"Nothing is recommended for {analysis.service_name}.")


async def follow_change(
    http: httpx.AsyncClient, job: OptimizationJob, say: Callable[[str], None], screen: TerminalScreen
) -> OptimizationJob:
    """Prints a change's timeline as it comes; returns the job once it has ended.

    Raises:
        UnavailableError: it did not end in time.
    """
    after = 0
    try:
        async with asyncio.timeout(CHANGE_SECONDS):
            while True:
                optimization_job = await _job(
                    http, job.job_id
                )  # before the entries: what ended it is among them
                for entry in await _entries(http, job.job_id, after):
                    say(show_entry(entry, screen))
                    after = entry.id
                if optimization_job.status is not OptimizationStatus.APPLYING:
                    say(show_end(optimization_job))
                    return optimization_job
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise UnavailableError(f"The change {job.job_id} did not end in {CHANGE_SECONDS:g} s.") from error


async def _job(http: httpx.AsyncClient, job_id: str) -> OptimizationJob:
    answer = await http.get(f"{PREFIX}/jobs/{job_id}")
    return msgspec.json.decode(answer.raise_for_status().content, type=OptimizationJob)


async def _entries(http: httpx.AsyncClient, job_id: str, after: int) -> list[TimelineEntry]:
    answer = await http.get(f"{PREFIX}/jobs/{job_id}/timeline", params={"after": after})
    return msgspec.json.decode(answer.raise_for_status().content, type=list[TimelineEntry])
