"""Variants of a baseline that cost nothing to have: a margin on top, and at most the current limit."""

import math
import re
from dataclasses import dataclass

import msgspec

from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines.base import Decide, millicores, with_requests
from perfopt.plugin.context import AnalysisContext

CAP = "cap"
_MARGIN = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True, slots=True)
class BaselineVariant:
    """What is done to the sizes of a baseline.

    Attributes:
        margin: added to requests, as a share of them.
        capped: requests are at most the current limits.
    """

    margin: float = 0.0
    capped: bool = False

    def apply(self, decide: Decide) -> Decide:
        """Returns the policy with its sizes changed."""

        def varied(context: AnalysisContext) -> WorkloadState | Declined:
            target, current = decide(context), context.snapshot.workload.state
            if isinstance(target, Declined):
                return target
            sized = tuple(self._container(one, current.container(one.name)) for one in target.containers)
            return msgspec.structs.replace(target, containers=sized)

        return varied

    def _container(self, sized: Container, current: Container | None) -> Container:
        cpu, memory = sized.cpu_request_cores, sized.memory_request_bytes
        cpu = None if cpu is None else millicores(cpu * (1 + self.margin))
        memory = None if memory is None else math.ceil(round(memory * (1 + self.margin), 6))
        if self.capped and current is not None:
            cpu = _at_most(cpu, current.cpu_limit_cores)
            memory = _at_most(memory, current.memory_limit_bytes)
        return with_requests(sized, cpu, memory)


def _at_most[N: (int, float)](value: N | None, limit: N | None) -> N | None:
    return value if value is None or limit is None else min(value, limit)


def parse_variant(name: str) -> tuple[str, BaselineVariant] | None:
    """Returns the baseline and the variant that a name such as "krr-simple+20%+cap" stands for.

    Returns:
        None where what follows the first plus sign is neither a margin in whole per cent nor "cap".
    """
    base, *modifiers = name.split("+")
    margins = [match for one in modifiers if (match := _MARGIN.fullmatch(one)) is not None]
    caps = modifiers.count(CAP)
    if not modifiers or len(margins) + caps != len(modifiers) or len(margins) > 1 or caps > 1:
        return None
    margin = int(margins[0].group(1)) / 100 if margins else 0.0
    return base, BaselineVariant(margin, bool(caps))
