"""What each pod of a workload did, step by step: what a changed pod is compared by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array, TimeGrid


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """A histogram of latency for each pod and step.

    Attributes:
        bounds: upper bounds of the buckets in seconds, ascending and finite, shape (buckets,).
        within: requests answered within each bound, shape (pods, steps, buckets), NaN where unknown.
    """

    bounds: Array
    within: Array


@dataclass(frozen=True, slots=True)
class PodHistory:
    """Metrics by pod on one grid.

    Attributes:
        grid: the time grid of all arrays.
        pods: names; the rows of all arrays.
        requests: served in each step, shape (pods, steps), NaN where none was measured; None where the
            application shows none by pod.
        failed: of those the ones that failed, same shape; None where nothing tells.
        latency: how long they took; None without a histogram.
        levels: other metrics by name ("cpu_throttled_fraction", "memory_bytes"), same shape.
        kills: OOM kills in each step, same shape; None where nothing shows them.
        restarts: of containers in each step, same shape; None where nothing shows them.
    """

    grid: TimeGrid
    pods: tuple[str, ...]
    requests: Array | None = None
    failed: Array | None = None
    latency: LatencyHistogram | None = None
    levels: Mapping[str, Array] = field(default_factory=dict)
    kills: Array | None = None
    restarts: Array | None = None

    def between(self, begin: int, end: int) -> "PodHistory":
        """Returns the steps [begin, end) only, as views."""
        begin, end = max(begin, 0), min(max(end, begin, 0), self.grid.size)
        grid = TimeGrid(self.grid.start + begin * self.grid.step, self.grid.step, end - begin)
        return replace(self._part((slice(None), slice(begin, end))), grid=grid)

    def of(self, pods: Sequence[str]) -> "PodHistory":
        """Returns the rows of some pods only, in their order here."""
        chosen = [at for at, name in enumerate(self.pods) if name in set(pods)]
        return replace(
            self._part(np.array(chosen, dtype=np.intp)), pods=tuple(self.pods[at] for at in chosen)
        )

    def _part(self, index: tuple[slice, slice] | NDArray[np.intp]) -> "PodHistory":
        def part(values: Array | None) -> Array | None:
            return None if values is None else values[index]

        latency = self.latency
        return replace(
            self,
            requests=part(self.requests),
            failed=part(self.failed),
            latency=latency and LatencyHistogram(latency.bounds, latency.within[index]),
            levels={name: values[index] for name, values in self.levels.items()},
            kills=part(self.kills),
            restarts=part(self.restarts),
        )
