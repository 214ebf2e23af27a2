"""What the pages work with, put together in bootstrap.py."""

from dataclasses import dataclass

from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.apply_port import ApplyRequests
from perfopt_api.store.dashboard import PageStore
from perfopt_api.web.series import SeriesReader


@dataclass(frozen=True, slots=True)
class WebPorts:
    """The ports of the pages.

    Attributes:
        api: what the API works with: jobs, recommendations, queue, settings, clock.
        pages: what lists and sums are read from.
        applies: apply jobs, freezes and the audit.
        series: reads what workloads used.
    """

    api: ApiPorts
    pages: PageStore
    applies: ApplyRequests
    series: SeriesReader
