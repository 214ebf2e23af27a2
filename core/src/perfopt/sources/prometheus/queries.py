"""The queries of a batch of workloads, and which pod or workload an answer is of."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from perfopt.domain.workload import WorkloadId
from perfopt.sources.prometheus.answer import InstantSample, RangeSeries
from perfopt.sources.prometheus.batch import (
    WorkloadBatch,
    pods_of,
)
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.days import read_by_days
from perfopt.sources.prometheus.naming import ANY_POD, pod_pattern
from perfopt.sources.prometheus.owners import PodKey
from perfopt.sources.prometheus.promql import QueryAlternative, quote, render
from perfopt.sources.prometheus.ranges import QueryLimits, RangeReader, pieces
from perfopt.sources.prometheus.state import StateReader

_NOT_EXPORTED = ('exported_namespace=""', 'exported_pod=""')
_NOT_RELAYED = 'exported_job=""'  # a collector's or gateway's series of other targets


class BatchQueries:
    """Asks the server for what series of pods and workloads there are."""

    def __init__(
        self, client: PrometheusClient, state: StateReader, cluster_label: str, limits: QueryLimits
    ) -> None:
        self._client = client
        self._state = state
        self._cluster_label = cluster_label
        self._limits = limits

    def day_key(self, alternative: QueryAlternative, query: str, reader: RangeReader) -> str:
        """Returns what tells the answers of a query from those of others, whatever is selected."""
        phase = int(reader.grid.start.timestamp()) % reader.grid.step_seconds
        text = self._promql(alternative, query, "", reader)
        asked = f"{reader.grid.step_seconds} {phase} {alternative.match} {alternative.label} {text}"
        return hashlib.blake2b(asked.encode(), digest_size=9).hexdigest()

    async def of_pods(
        self,
        alternative: QueryAlternative,
        query: str,
        pods: Mapping[PodKey, WorkloadId],
        reader: RangeReader,
    ) -> list[RangeSeries]:
        """Returns the series of pods, of the days that are not stored from the server."""

        async def ask(some: Iterable[PodKey], first: int, last: int) -> list[tuple[PodKey, RangeSeries]]:
            part = reader.within(first, last)
            answers = await part.read(
                sorted(some),
                lambda few: self._promql(alternative, query, self.selector(alternative, few), part),
            )
            return [(self.pod_of(one.labels, alternative), one) for answer in answers for one in answer]

        if reader.days is None:
            answers_by_pod = await ask(pods, 0, reader.grid.size)
        else:
            key = self.day_key(alternative, query, reader)
            answers_by_pod = await read_by_days(reader.days, reader.grid, key, pods, ask, pods=True)
        return [series for _, series in answers_by_pod]

    async def of_workloads(
        self, alternative: QueryAlternative, wanted: Sequence[WorkloadId], batch: WorkloadBatch
    ) -> list[RangeSeries]:
        """Returns the series of workloads of one kind; parts of one workload where its pods fill a query."""
        if alternative.match == "workload":

            def named(some: Sequence[WorkloadId]) -> str:
                place = alternative.namespace_label, alternative.label
                selector = self._state.selector(some, *place, [identity.name for identity in some])
                return self._promql(alternative, alternative.query, selector, batch.fine)

            answers = await batch.fine.read(wanted, named)
            return [series for answer in answers for series in answer]
        mine = pods_of(wanted, batch.pods)

        def of_pods(some: Sequence[PodKey]) -> str:
            selector = self.selector(alternative, some, _NOT_RELAYED)
            pattern = ANY_POD if len(wanted) == 1 else pod_pattern(wanted)
            return self._promql(
                alternative, alternative.query, selector, batch.fine, pattern=quote(pattern)[1:-1]
            )

        if len(wanted) > 1 and len(of_pods(sorted(mine)).encode()) > batch.fine.limits.query_bytes:
            middle = len(wanted) // 2
            halves = (wanted[:middle], wanted[middle:])
            answers = await asyncio.gather(*(self.of_workloads(alternative, h, batch) for h in halves))
            return [series for answer in answers for series in answer]
        if len(wanted) == 1:
            answers = await batch.fine.read(sorted(mine), of_pods)
            return [series for answer in answers for series in answer]
        return await self._together(alternative, wanted, of_pods(sorted(mine)), batch)

    async def _together(
        self, alternative: QueryAlternative, wanted: Sequence[WorkloadId], promql: str, batch: WorkloadBatch
    ) -> list[RangeSeries]:
        answers = await batch.fine.read([tuple(wanted)], lambda _: promql)
        return [series for answer in answers for series in answer]

    def selector(self, alternative: QueryAlternative, pods: Sequence[PodKey], *more: str) -> str:
        """Returns the matchers for pods; series of which the scrape target's labels name the pod are none."""
        places = [WorkloadId(cluster=pod.cluster, namespace=pod.namespace, name="") for pod in pods]
        names = [pod.name for pod in pods]
        own = (alternative.namespace_label, alternative.label) == ("namespace", "pod")
        matchers = self._state.selector(places, alternative.namespace_label, alternative.label, names)
        return ",".join([matchers, *(_NOT_EXPORTED if own else ()), *(more if own else ())])

    def _promql(
        self,
        alternative: QueryAlternative,
        query: str,
        selector: str,
        reader: RangeReader,
        *,
        pattern: str = "",
    ) -> str:
        values = {
            **reader.values,
            "selector": selector,
            "by": f"{self._cluster_label}, {alternative.namespace_label}",
            "pattern": pattern,
            "quantile": str(alternative.quantile),
        }
        return render(query, values)

    async def at_end(
        self, plain: QueryAlternative, pods: Sequence[PodKey], batch: WorkloadBatch
    ) -> list[InstantSample]:
        """Evaluates a state query over the period for some pods, at its end."""
        if not pods or not batch.may_answer(plain.query):
            return []
        values = {"cluster": self._cluster_label, "step": batch.fine.values["step"]}
        values["period"] = f"{batch.grid.size * batch.grid.step_seconds}s"

        def promql(some: Sequence[PodKey]) -> str:
            return render(plain.query, values | {"selector": self.selector(plain, some)})

        chunks = pieces(pods, lambda some: len(promql(some).encode()), self._limits)
        answers = await asyncio.gather(*(self._client.query(promql(c), batch.grid.end) for c in chunks))
        return [sample for answer in answers for sample in answer]

    def pod_of(self, labels: Mapping[str, str], alternative: QueryAlternative) -> PodKey:
        """Returns the pod that the labels of an answer name."""
        cluster = labels.get(self._cluster_label, "")
        return PodKey(cluster, labels.get(alternative.namespace_label, ""), labels.get(alternative.label, ""))
