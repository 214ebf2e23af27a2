"""Two policies without a tool: the maximum of use, and its P99."""

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import ContainerHistory, Rule, largest_of_pods, with_requests


def percentile_of_history(percent: float) -> Rule:
    """Requests are the largest over pods of a percentile of cpu and of memory; limits stay."""

    def rule(history: ContainerHistory) -> Container:
        cpu = None if history.cpu is None else largest_of_pods(history.cpu, percent)
        memory = None if history.memory is None else largest_of_pods(history.memory, percent)
        return with_requests(history.container, cpu, memory)

    return rule
