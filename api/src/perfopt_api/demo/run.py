"""The demo's visitor: asks the API over HTTP, and listens on NATS, as any user would."""

import asyncio
from collections.abc import Callable

import httpx
import msgspec
import nats
from nats.aio.msg import Msg

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import UnavailableError
from perfopt_api.demo.samples import QUESTIONS, Question
from perfopt_api.demo.show import WIDTH, show_event, show_job, show_priors
from perfopt_api.events.message import SUBJECT_PREFIX
from perfopt_api.standalone import Addresses

WAIT_SECONDS = 60
EVENT_SECONDS = 15.0
Say = Callable[[str], None]


async def visit(addresses: Addresses, say: Say) -> None:
    """Asks for an analysis of every sample, shows the answers and the events they caused.

    Args:
        addresses: of the running service.
        say: prints one block.

    Raises:
        UnavailableError: an analysis failed, or an event did not arrive in time.
    """
    client = await nats.connect(addresses.servers.nats_url, connect_timeout=5)
    try:
        inbox: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await client.subscribe(f"{SUBJECT_PREFIX}.>", cb=inbox.put)
        await client.flush()
        made: list[OptimizationRecommendation] = []
        async with httpx.AsyncClient(base_url=addresses.api, timeout=WAIT_SECONDS + 5) as http:
            for question in QUESTIONS:
                job = await _ask(http, question)
                say(show_job(job))
                made += job.recommendations
        say(show_priors(made))
        say("━" * WIDTH)
        await _show_events(inbox, made, say)
        await subscription.unsubscribe()
    finally:
        await client.close()


async def _ask(http: httpx.AsyncClient, question: Question) -> OptimizationJob:
    body = {
        "service_name": question.service_name,
        "source": question.source,
        "validity": question.validity,
    }
    answer = await http.post(
        "/api/v1/optimization/analyze", json=body, headers={"Prefer": f"wait={WAIT_SECONDS}"}
    )
    if answer.status_code != httpx.codes.OK:
        raise UnavailableError(f"The analysis of {question.service_name} was not done: {answer.text}")
    job = msgspec.json.decode(answer.content, type=OptimizationJob)
    if job.status is not OptimizationStatus.RECOMMENDATIONS_READY:
        raise UnavailableError(f"The analysis of {question.service_name} ended as {job.status}: {job.error}")
    return job


async def _show_events(inbox: asyncio.Queue[Msg], made: list[OptimizationRecommendation], say: Say) -> None:
    missing = {one.recommendation_id for one in made}
    received: dict[str, Msg] = {}
    try:
        async with asyncio.timeout(EVENT_SECONDS):
            while missing - received.keys():
                message = await inbox.get()
                event = msgspec.json.decode(message.data)
                received[event["optimization_recommendation"]["recommendation_id"]] = message
    except TimeoutError:
        late = ", ".join(sorted(missing - received.keys()))
        raise UnavailableError(f"No event arrived in {EVENT_SECONDS:g} s for {late}.") from None
    changing = next((one for one in made if not one.already_right), made[0])
    shown = received[changing.recommendation_id]
    say(f"A NATS subscriber received {len(received)} events, one a recommendation. One of them:\n")
    say(show_event(shown.subject, dict(shown.headers or {}), shown.data))
