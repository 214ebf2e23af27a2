"""The demo's visitor: asks the API over HTTP, and listens on NATS, as any user would."""

import asyncio
from collections.abc import Callable

import httpx
import msgspec
import nats
from nats.aio.msg import Msg

from perfopt.cli.output.terminal import TerminalScreen
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import UnavailableError
from perfopt_api.demo.change import begin_change, follow_change
from perfopt_api.demo.samples import REQUESTS, SampleRequest
from perfopt_api.demo.show import show_change, show_event, show_events, show_jobs, show_simulated, show_stored
from perfopt_api.demo.simulation import BAD, GOOD, OBSERVE_SECONDS
from perfopt_api.events.message import SUBJECT_PREFIX
from perfopt_api.standalone import ServiceAddresses

WAIT_SECONDS = 60
EVENT_SECONDS = 15.0
_EXPECTED = (OptimizationStatus.APPLIED, OptimizationStatus.ROLLED_BACK)
Say = Callable[[str], None]


async def visit(addresses: ServiceAddresses, say: Say, screen: TerminalScreen, *, verbose: bool) -> None:
    """Asks for an analysis of every sample, shows the answers, what was stored, and the events published.

    The two simulated services are asked about first, and changed by what is recommended.

    Args:
        addresses: of the running service.
        say: prints one block.
        screen: what it is printed on.
        verbose: print every recommendation, reason and one event in full.

    Raises:
        UnavailableError: an analysis failed, was not stored, an event did not arrive in time, or a change did
            not end as it must.
    """
    client = await nats.connect(addresses.servers.nats_url, connect_timeout=5)
    try:
        inbox: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await client.subscribe(f"{SUBJECT_PREFIX}.>", cb=inbox.put)
        await client.flush()
        async with httpx.AsyncClient(base_url=addresses.api, timeout=WAIT_SECONDS + 5) as http:
            simulated = [await _ask(http, service.request) for service in (GOOD, BAD)]
            changes = [await begin_change(http, job) for job in simulated]
            jobs = [*simulated, *[await _ask(http, request) for request in REQUESTS]]
            say(show_jobs(jobs, screen, verbose=verbose))
            await _read_back(http, jobs)
            published = [one for job in jobs for one in job.recommendations]
            say(show_stored(len(jobs), len(published)))
            await _show_events(inbox, published, say, verbose=verbose)
            await subscription.unsubscribe()
            say(show_simulated(OBSERVE_SECONDS, screen))
            for analysis, change, expected in zip(simulated, changes, _EXPECTED, strict=True):
                say(show_change(analysis, screen))
                ended = await follow_change(http, change, say, screen)
                if ended.status is not expected:
                    raise UnavailableError(f"{ended.service_name} ended as {ended.status}: {ended.error}")
    finally:
        await client.close()


async def _read_back(http: httpx.AsyncClient, jobs: list[OptimizationJob]) -> None:
    """Reads each job from the API again.

    Raises:
        UnavailableError: what it gives is not what the analysis answered.
    """
    for job in jobs:
        answer = await http.get(f"/api/v1/optimization/jobs/{job.job_id}")
        if answer.status_code != httpx.codes.OK:
            raise UnavailableError(f"The job {job.job_id} can't be read back: {answer.text}")
        stored = msgspec.json.decode(answer.content, type=OptimizationJob)
        if [one.recommendation_id for one in stored.recommendations] != [
            one.recommendation_id for one in job.recommendations
        ]:
            raise UnavailableError(f"The job {job.job_id} was not stored as it was answered.")


async def _ask(http: httpx.AsyncClient, request: SampleRequest) -> OptimizationJob:
    body = {
        "service_name": request.service_name,
        "source": request.source,
        "validity": request.validity,
        "optimization_types": request.types,
    }
    answer = await http.post(
        "/api/v1/optimization/analyze", json=body, headers={"Prefer": f"wait={WAIT_SECONDS}"}
    )
    if answer.status_code != httpx.codes.OK:
        raise UnavailableError(f"The analysis of {request.service_name} was not done: {answer.text}")
    job = msgspec.json.decode(answer.content, type=OptimizationJob)
    if job.status is not OptimizationStatus.RECOMMENDATIONS_READY:
        raise UnavailableError(f"The analysis of {request.service_name} ended as {job.status}: {job.error}")
    return job


async def _show_events(
    inbox: asyncio.Queue[Msg], published: list[OptimizationRecommendation], say: Say, *, verbose: bool
) -> None:
    missing = {one.recommendation_id for one in published}
    received: dict[str, Msg] = {}
    try:
        async with asyncio.timeout(EVENT_SECONDS):
            while missing - received.keys():
                message = await inbox.get()
                event = msgspec.json.decode(message.data)
                received[event["optimization_recommendation"]["recommendation_id"]] = message
    except TimeoutError as error:
        late = ", ".join(sorted(missing - received.keys()))
        raise UnavailableError(f"No event arrived in {EVENT_SECONDS:g} s for {late}.") from error
    example = published[0].recommendation_id
    shown = received[example]
    say(show_events(len(received), shown.subject, example))
    if verbose:
        say(show_event(shown.subject, dict(shown.headers or {}), shown.data))
