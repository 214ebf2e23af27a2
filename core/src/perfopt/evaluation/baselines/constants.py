"""Two constants: a multiple of the highest cpu and one of the highest memory, at most the current limits."""

import re
from collections.abc import Sequence

import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import ContainerHistory, Rule, largest_of_pods, with_requests
from perfopt.evaluation.baselines.fitted import FleetExample, FleetTable

CPU_FACTOR, MEMORY_FACTOR = 1.1, 2.5
CPU_FACTORS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 1.75, 2.0)
MEMORY_FACTORS = (1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)
TUNED_ACCURACY = 0.92
_NAME = re.compile(r"constants:(\d{1,2}(?:\.\d{1,3})?),(\d{1,2}(?:\.\d{1,3})?)")


def constants(cpu_factor: float, memory_factor: float) -> Rule:
    """Returns the rule: requests are multiples of the maximum of the history, capped at the limits."""

    def recommend(history: ContainerHistory) -> Container:
        container = history.container
        cpu = None if history.cpu is None else cpu_factor * largest_of_pods(history.cpu, 100.0)
        memory = None if history.memory is None else memory_factor * largest_of_pods(history.memory, 100.0)
        return with_requests(
            container,
            _capped(cpu, container.cpu_limit_cores),
            _capped(memory, container.memory_limit_bytes),
        )

    return recommend


def _capped(value: float | None, limit: float | None) -> float | None:
    return value if value is None or limit is None else min(value, limit)


def parse_constants(name: str) -> tuple[float, float] | None:
    """Returns the factors that a name such as "constants:1.3,1.5" gives (cpu, memory), or None."""
    match = _NAME.fullmatch(name)
    return None if match is None else (float(match.group(1)), float(match.group(2)))


def tuned(examples: Sequence[FleetExample]) -> tuple[float, float]:
    """Returns the factors (cpu, memory) that save most on examples, of those accurate in at least 92 %.

    What is saved is the sum of the realised savings in money, by service and in memory; where no pair is
    as accurate, it is the most accurate one.
    """
    fleet = FleetTable.of(examples)
    judged = {
        (cpu, memory): fleet.judge(np.minimum(fleet.peaks * [cpu, memory], fleet.limits))
        for cpu in CPU_FACTORS
        for memory in MEMORY_FACTORS
    }
    enough = [pair for pair, (accuracy, _) in judged.items() if accuracy >= TUNED_ACCURACY]
    if not enough:
        return max(judged, key=lambda pair: judged[pair][0])
    return max(enough, key=lambda pair: judged[pair][1])
