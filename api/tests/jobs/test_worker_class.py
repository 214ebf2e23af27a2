"""A worker of one class, and the metrics of what it did."""

import msgspec
from prometheus_client import REGISTRY

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest


async def ask(api, name, priority):
    request = PerformanceAnalysisRequest(service_name=name, priority=priority)
    job_id = (await api.store.create_job(request)).job.job_id
    await api.queue.enqueue(job_id)
    return job_id


async def test_a_worker_of_the_fleet_leaves_what_somebody_waits_for(
    settings, api, worker, eventually, recommendation, result
):
    async def analyse(request):
        return result(recommendation(request.service_name))

    async def status(job_id):
        return (await api.store.get_job(job_id)).status

    finished = ("perfopt_jobs_finished_total", {"job_class": "fleet", "status": "RECOMMENDATIONS_READY"})
    made = ("perfopt_recommendations_total", {"type": "RESOURCE_OPTIMIZATION", "change": "true"})
    before = [REGISTRY.get_sample_value(*each) or 0 for each in (finished, made)]
    interactive = await ask(api, "web", "interactive")
    fleet = await ask(api, "batch", "fleet")
    async with worker(msgspec.structs.replace(settings, worker_class="fleet"), analyse):

        async def done():
            return await status(fleet) is OptimizationStatus.RECOMMENDATIONS_READY

        await eventually(done)
        later = await ask(api, "late", "fleet")

        async def woken():
            return await status(later) is OptimizationStatus.RECOMMENDATIONS_READY

        await eventually(woken)
        assert await status(interactive) is OptimizationStatus.ANALYZING
    assert [REGISTRY.get_sample_value(*each) for each in (finished, made)] == [each + 2 for each in before]
    assert REGISTRY.get_sample_value("perfopt_job_wait_seconds_count", {"job_class": "fleet"}) >= 2
