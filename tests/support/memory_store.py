"""The store's port in memory. The tests of the port run on it and on PostgreSQL."""

import asyncio
import re
from typing import Any

import msgspec

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation, Plan
from perfopt.domain.request import requested_types
from perfopt.domain.resolve import full_name_pattern
from perfopt.errors import ConflictError, InvalidInputError, UnavailableError
from perfopt_api.store.mapping import job_namespaces, workload_parts
from perfopt_api.store.port import MAX_LIMIT, CreatedJob, JobPage


class MemoryStore:
    """Keeps jobs in a dictionary; `down` makes it fail as a lost PostgreSQL does."""

    def __init__(self):
        self.jobs: dict[str, OptimizationJob] = {}
        self.made: dict[str, tuple[OptimizationRecommendation, str]] = {}
        self.keys: dict[tuple[Any, ...], tuple[str, str]] = {}
        self.requesters: list[str | None] = []
        self.down = self.hangs = False
        self.error: Exception | None = None
        self.source: str | None = None

    def add(
        self, *made: OptimizationRecommendation, job_id: str = "job_done", plan: Plan | None = None
    ) -> None:
        self.jobs[job_id] = OptimizationJob(
            job_id=job_id,
            service_name="portfolio_management_service",
            optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
            optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
            status=OptimizationStatus.RECOMMENDATIONS_READY,
            recommendations=made,
            plan=plan,
        )
        self.made |= {item.recommendation_id: (item, job_id) for item in made}

    def _check(self):
        if self.error is not None:
            raise self.error
        if self.down:
            raise UnavailableError("PostgreSQL is not reachable.", remedy="Try again later.")

    async def create_job(self, request, *, idempotency_key=None, body_hash=None, requester=None):
        self._check()
        self.requesters.append(requester)
        known = self.keys.get((requester, idempotency_key)) if idempotency_key else None
        if known is not None:
            if known[1] != body_hash:
                raise ConflictError("The key was used with another body.", field="Idempotency-Key")
            return CreatedJob(job=self.jobs[known[0]], replayed=True)
        types = requested_types(request)
        job = OptimizationJob(
            job_id=f"job_{len(self.jobs) + 1:04d}",
            service_name=getattr(request, "service_name", None) or str(request.selector),
            optimization_type=types[0],
            optimization_types=types,
            status=OptimizationStatus.ANALYZING,
            analysis_period=request.analysis_period,
        )
        self.jobs[job.job_id] = job
        if idempotency_key:
            self.keys[requester, idempotency_key] = (job.job_id, body_hash)
        return CreatedJob(job=job, replayed=False)

    def finish(self, job_id: str) -> None:
        self.jobs[job_id] = msgspec.structs.replace(
            self.jobs[job_id], status=OptimizationStatus.RECOMMENDATIONS_READY
        )

    async def get_job(self, job_id):
        self._check()
        return self.jobs.get(job_id)

    async def cancel_analysis(self, job_id):
        self._check()
        if self.jobs[job_id].status is not OptimizationStatus.ANALYZING:
            return False
        error = {"code": "cancelled", "message": "It was cancelled."}
        self.jobs[job_id] = msgspec.structs.replace(
            self.jobs[job_id], status=OptimizationStatus.FAILED, error=error
        )
        return True

    async def list_jobs(
        self, *, service_name=None, status=None, namespaces=None, fleet_id=None, cursor=None, limit=50
    ):
        self._check()
        kept = [
            job
            for job in reversed(self.jobs.values())
            if service_name in (None, job.service_name)
            and status in (None, job.status)
            and (job.fleet_id == fleet_id or service_name)
            if namespaces is None or job_namespaces(job) & set(namespaces)
        ]
        return _page(kept, cursor, limit)

    async def get_recommendation(self, recommendation_id):
        self._check()
        return self.made.get(recommendation_id)

    async def list_recommendations(
        self,
        *,
        service_name=None,
        optimization_type=None,
        job_id=None,
        include_superseded=False,
        include_expired=False,
        namespaces=None,
        cursor=None,
        limit=50,
    ):
        self._check()
        kept = [
            item
            for item, owner in reversed(self.made.values())
            if job_id in (None, owner)
            if service_name in (None, item.service_name)
            or ("/" in service_name and re.fullmatch(full_name_pattern(service_name), item.workload))
            if optimization_type in (None, item.optimization_type)
            and (include_superseded or item.superseded_by is None)
            and (namespaces is None or workload_parts(item.workload)[1] in namespaces)
        ]
        return _page(kept, cursor, limit)

    async def plans(self):
        self._check()
        return tuple(
            (job.recommendations[0].workload, job.plan) for job in reversed(self.jobs.values()) if job.plan
        )

    async def source_of(self, recommendation_id):
        self._check()
        return self.source

    async def accuracy(self, *, service_name=None, optimization_type=None):
        self._check()
        return ()

    async def ping(self):
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(5)  # as a driver does that tries to say goodbye
        self._check()


def _page(items, cursor, limit):
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInputError(f"A limit is 1 to {MAX_LIMIT}.", field="limit", remedy="Ask for fewer.")
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise InvalidInputError(
            "The cursor is malformed.", field="cursor", remedy="Take it from the Link header."
        )
    start = int(cursor or 0)
    more = start + limit < len(items)
    following = str(start + limit) if more else None
    return JobPage(items=tuple(items[start : start + limit]), next_cursor=following, total=len(items))
