"""What the pages work with, put together in bootstrap.py."""

from dataclasses import dataclass

from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.dashboard import PageStore
from perfopt_api.web.series import SeriesReader


@dataclass(frozen=True, slots=True)
class WebPorts:
    """The ports of the pages.

    Attributes:
        api: what the API works with: jobs, recommendations, changes, queue, settings, clock.
        pages: what lists and sums are read from.
        series: reads what workloads used.
    """

    api: ApiPorts
    pages: PageStore
    series: SeriesReader
