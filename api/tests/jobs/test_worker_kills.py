import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import msgspec
from sqlalchemy import select

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.store.tables import outbox

KILLS = 20
SCRIPT = Path(__file__).with_name("forking_worker.py")


@contextlib.contextmanager
def workers(settings, template):
    """Gives a function that starts a worker process and returns its pid; kills what is left at the end."""
    arguments = [msgspec.json.encode(each).decode() for each in (settings, template)]
    pids = []
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:

        def start():
            process.stdin.write(b"\n")
            process.stdin.flush()
            pids.append(int(process.stdout.readline()))
            return pids[-1]

        try:
            yield start
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)  # those killed before are zombies until the script ends
            process.stdin.close()


async def stored_events(api, jetstream, stream):
    async with api.backends.database.transaction() as connection:
        rows = (await connection.execute(select(outbox))).all()
    state = (await jetstream.stream_info(stream)).state
    streamed = [await jetstream.get_msg(stream, seq) for seq in range(state.first_seq, state.last_seq + 1)]
    return rows, streamed


async def test_twenty_kills_at_random_points_leave_one_result_and_one_event_each(
    api, settings, recommendation, result, eventually
):
    ids = []
    with workers(settings, result(recommendation())) as start:
        for number in range(KILLS):
            job = (await api.store.create_job(PerformanceAnalysisRequest(service_name=f"vm-{number}"))).job
            await api.queue.enqueue(job.job_id)
            ids.append(job.job_id)
            pid = start()
            await asyncio.sleep(random.uniform(0.05, 0.5))
            os.kill(pid, signal.SIGKILL)
        start()
        done = await asyncio.gather(*(api.waiter.wait_for_job(each, timedelta(seconds=20)) for each in ids))
        assert {job.status for job in done} == {OptimizationStatus.RECOMMENDATIONS_READY}
        assert [len(job.recommendations) for job in done] == [1] * KILLS
        jetstream = api.backends.nats.jetstream

        async def all_out():
            rows, _ = await stored_events(api, jetstream, settings.event_stream)
            return all(row.published_at for row in rows)

        await eventually(all_out)
        rows, streamed = await stored_events(api, jetstream, settings.event_stream)
    made = {job.recommendations[0].recommendation_id for job in done}
    assert len(made) == KILLS
    assert Counter(message.headers["Nats-Msg-Id"] for message in streamed) == Counter(
        str(row.event_id) for row in rows
    )
    bodies = [msgspec.json.decode(message.data) for message in streamed]
    recommended = [body["optimization_recommendation"] for body in bodies if "status" not in body]
    assert Counter(each["recommendation_id"] for each in recommended) == Counter(made)
    assert Counter(body["job_id"] for body in bodies if "status" in body) == Counter(ids)
    assert [message.data for message in streamed] == [row.payload for row in sorted(rows, key=_out)]


def _out(row):
    return row.id
