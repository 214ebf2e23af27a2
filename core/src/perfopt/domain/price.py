"""Price books: what a core-hour and a GiB-hour cost."""

import msgspec

from perfopt.domain.workload import WorkloadState

HOURS_PER_MONTH = 730.0
GIB = float(2**30)


class PriceBook(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of requested capacity.

    Attributes:
        name: how the book is called in results.
        currency: ISO 4217 code.
        cpu_core_hour: price of one requested core for one hour.
        memory_gib_hour: price of one requested GiB for one hour.
    """

    name: str
    currency: str
    cpu_core_hour: float
    memory_gib_hour: float

    def monthly_cost(self, state: WorkloadState) -> float | None:
        """Returns Σ replicas × (cpu_request × price + memory_request × price) over 730 h.

        None where requests are unknown. Unknown replicas count as one.
        """
        cpu, memory = state.total("cpu_request_cores"), state.total("memory_request_bytes")
        if cpu is None or memory is None:
            return None
        hourly = cpu * self.cpu_core_hour + memory / GIB * self.memory_gib_hour
        return (state.replicas if state.replicas is not None else 1) * hourly * HOURS_PER_MONTH


# On-demand list price of a general-purpose node split by the usual 0.0316/0.0042 ratio (GCP E2,
# us-central1, https://cloud.google.com/compute/vm-instance-pricing): a stated default, not a quote.
DEFAULT_PRICE_BOOK = PriceBook(
    name="gcp-e2-us-central1", currency="USD", cpu_core_hour=0.021811, memory_gib_hour=0.002923
)
