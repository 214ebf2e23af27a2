"""What the pages work with, put together in bootstrap.py."""

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from perfopt_api.apply.policyclock import PolicyTime
from perfopt_api.apply.preflight import PreflightPort
from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.backtests import PostgresBacktests
from perfopt_api.store.dashboard import PageStore
from perfopt_api.store.refusals import PostgresRefusals
from perfopt_api.web.series import SeriesReader

if TYPE_CHECKING:
    from perfopt.rules import RuleSources


@dataclass(frozen=True)
class WebPorts:
    """The ports of the pages.

    Attributes:
        api: what the API works with: jobs, recommendations, changes, queue, settings, clock.
        pages: what lists and sums are read from.
        series: reads what workloads used.
        backtests: those that were started here.
        refusals: of recommendations, by a person.
        preflight: looks at what stands against a change in the cluster.
    """

    api: ApiPorts
    pages: PageStore
    series: SeriesReader
    backtests: PostgresBacktests
    refusals: PostgresRefusals
    preflight: PreflightPort

    async def warm_up(self) -> None:
        """Reads what takes seconds at first: sums of outcomes, rule packs, sessions of exchanges."""
        await asyncio.gather(
            self.pages.warm_up(), asyncio.to_thread(lambda: self.rules), self.time.refresh(self.api.now())
        )

    @cached_property
    def time(self) -> PolicyTime:
        """What policy knows of an instant; its calendars are kept."""
        return PolicyTime(self.api.policy, self.api.now())

    @cached_property
    def rules(self) -> "RuleSources":
        """The configured rule packs, read once."""
        from perfopt.rules import RuleSources

        return RuleSources.read(self.api.config.rules)
