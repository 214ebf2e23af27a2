"""What a baseline's policy is: from a context to the state it would set, and the parts that several share."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import decline

MIB = 2**20
_NOTHING = "There is no sample of cpu or memory in the history."


@dataclass(frozen=True, slots=True)
class ContainerHistory:
    """What is known of one container.

    Attributes:
        container: as it is set now.
        share: one part of as many as the pod has containers, for floors that are stated per pod.
        grid: of the arrays.
        cpu: cores, shape (pods, steps), NaN where missing; None where the source has no sample.
        memory: bytes, likewise.
        oom_kills: kills in each step, likewise.
        throttled: share of periods throttled, likewise.
    """

    container: Container
    share: float
    grid: TimeGrid
    cpu: Array | None
    memory: Array | None
    oom_kills: Array | None
    throttled: Array | None


Rule = Callable[[ContainerHistory], Container]
Decide = Callable[[AnalysisContext], WorkloadState | Declined]


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """A policy of another tool.

    Attributes:
        name: as in `--policy`.
        about: one line on what it does.
        decide: a pure function from what is known to the state it would set.
    """

    name: str
    about: str
    decide: Decide


def per_container(rule: Rule) -> Decide:
    """Returns a policy that sizes each container by itself and leaves those without samples as they are."""

    def decide(context: AnalysisContext) -> WorkloadState | Declined:
        state = context.snapshot.workload.state
        histories = container_histories(context)
        if all(history.cpu is None and history.memory is None for history in histories):
            return decline(OptimizationType.RESOURCE_OPTIMIZATION, DeclineCode.NO_DATA, _NOTHING)
        return msgspec.structs.replace(state, containers=tuple(rule(history) for history in histories))

    return decide


def container_histories(context: AnalysisContext) -> list[ContainerHistory]:
    """Returns what is known of each container, in the order of the state, or of names where it lists none."""
    state = context.snapshot.workload.state
    names = [container.name for container in state.containers] or sorted(context.snapshot.containers)
    return [_history(context, state.container(name) or Container(name=name), names) for name in names]


def _history(context: AnalysisContext, container: Container, names: list[str]) -> ContainerHistory:
    def sampled(metric: str) -> Array | None:
        series = context.snapshot.series(container.name, metric)
        return series.values if series is not None and np.isfinite(series.values).any() else None

    return ContainerHistory(
        container=container,
        share=1 / len(names),
        grid=context.snapshot.grid,
        cpu=sampled("cpu_cores"),
        memory=sampled("memory_bytes"),
        oom_kills=sampled("oom_kills"),
        throttled=sampled("cpu_throttled_fraction"),
    )


def with_requests(container: Container, cpu: float | None, memory: float | None) -> Container:
    """Sets requests, None leaving one as it is; limits stay, raised to the request where they are lower."""
    cores = container.cpu_request_cores if cpu is None else millicores(cpu)
    size = container.memory_request_bytes if memory is None else math.ceil(memory)
    return msgspec.structs.replace(
        container,
        cpu_request_cores=cores,
        memory_request_bytes=size,
        cpu_limit_cores=_at_least(container.cpu_limit_cores, cores),
        memory_limit_bytes=_at_least(container.memory_limit_bytes, size),
    )


def with_limits_as_requests(container: Container, cpu: float | None, memory: float | None) -> Container:
    """Sets requests and, of what is set, limits to the same."""
    sized = with_requests(container, cpu, memory)
    return msgspec.structs.replace(
        sized,
        cpu_limit_cores=sized.cpu_limit_cores if cpu is None else sized.cpu_request_cores,
        memory_limit_bytes=sized.memory_limit_bytes if memory is None else sized.memory_request_bytes,
    )


def _at_least[N: (int, float)](limit: N | None, request: N | None) -> N | None:
    return limit if limit is None or request is None else max(limit, request)


def millicores(cores: float) -> float:
    """Returns cores rounded up to whole millicores."""
    return math.ceil(round(cores * 1000, 6)) / 1000


def pooled(values: Array) -> Array:
    """Returns the samples of all pods, shape (n,), without what is missing."""
    finite: Array = values[np.isfinite(values)]
    return finite


def largest_of_pods(values: Array, percent: float) -> float:
    """Returns the largest over the pods of a percentile of each, linear between samples."""
    return max(float(np.percentile(own, percent)) for row in values if (own := pooled(row)).size)


def blocks(values: Array, steps: int) -> tuple[Array, Array]:
    """Returns (smallest, largest) of each block of steps over all pods; blocks without a sample are left out.

    Args:
        values: shape (pods, steps).
        steps: in one block; the blocks end where the values do, so that the first may be shorter.
    """
    size = values.shape[1]
    padded = np.full((values.shape[0], -(-size // steps) * steps), np.nan)
    padded[:, padded.shape[1] - size :] = values
    parts = padded.reshape(values.shape[0], -1, steps)
    low = np.fmin.reduce(np.fmin.reduce(parts, axis=2), axis=0)
    high = np.fmax.reduce(np.fmax.reduce(parts, axis=2), axis=0)
    present = np.isfinite(high)
    return low[present], high[present]
