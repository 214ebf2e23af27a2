"""Run as a script: forks a real worker process for each line on its standard input, and prints its pid.

The fork spares each of them the imports, so that twenty can be started and killed in seconds.
"""

import asyncio
import os
import random
import sys

import msgspec

from perfopt.domain.recommendation import AnalysisResult
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.wiring import serve_jobs
from perfopt_api.logs import configure_logging
from perfopt_api.settings import ServiceSettings

settings = msgspec.json.decode(sys.argv[1], type=ServiceSettings)
template = msgspec.json.decode(sys.argv[2], type=AnalysisResult)
policy = WorkerPolicy(
    lease_seconds=1.0, max_attempts=50, max_lost_workers=50, stranded_seconds=0.5, backoff_seconds=0.05
)

configure_logging(settings)  # on standard error: standard output is for pids


async def analyse(request):
    await asyncio.sleep(random.uniform(0, 0.1))
    name = request.service_name
    made = [msgspec.structs.replace(r, service_name=name, workload=name) for r in template.recommendations]
    return msgspec.structs.replace(template, service_name=name, workload=name, recommendations=tuple(made))


for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        asyncio.run(serve_jobs(settings, analyse, asyncio.Event(), policy))
        os._exit(0)
    print(pid, flush=True)
