"""What is seen of one container: its use, signs of shortage, and the features a sizing model asks for."""

from dataclasses import dataclass

from perfopt.plugin import AnalysisContext, Container, InsufficientHistory, validity_steps
from perfopt_resource.model.features import LATEST_VALIDITIES, ObservedUse, UseFeatures, extract
from perfopt_resource.runs import while_running
from perfopt_resource.usage import HiddenDemand, OomKills, ResourceUsage, hidden_demand, oom_kills, usage

METRICS = {"cpu": "cpu_cores", "memory": "memory_bytes"}


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One container as its history shows it.

    Attributes:
        use: resource to what counts of its history, or why it is not enough.
        throttled: cpu throttling, if any.
        killed: OOM kills, if any.
        features: of what is usable.
    """

    use: dict[str, ResourceUsage | InsufficientHistory]
    throttled: HiddenDemand | None
    killed: OomKills | None
    features: UseFeatures

    def usable(self, resource: str) -> ResourceUsage:
        """Returns the use of a resource that is usable."""
        resource_usage = self.use[resource]
        assert isinstance(resource_usage, ResourceUsage)
        return resource_usage

    @property
    def short(self) -> bool:
        """Whether the container was seen to have too little."""
        return self.throttled is not None or self.killed is not None


def observe(context: AnalysisContext, container: Container) -> ObservedContainer:
    """Looks at a container's history.

    A model learnt from use takes it for demand, and limits for what demand can't pass. So where use was
    throttled the model is given the demand, and a limit that was hit is not shown to it. Of what did not run
    lately, as a weekly job before its day, it is given the time in which it ran.
    """
    use = {resource: usage(context, container.name, metric) for resource, metric in METRICS.items()}
    cpu, memory = use["cpu"], use["memory"]
    throttled = hidden_demand(context, container.name, cpu) if isinstance(cpu, ResourceUsage) else None
    killed = None
    if isinstance(memory, ResourceUsage):
        killed = oom_kills(context, container.name, memory.begin, container.memory_limit_bytes)
    demand = throttled.demand if throttled else cpu.values if isinstance(cpu, ResourceUsage) else None
    latest = LATEST_VALIDITIES * validity_steps(context)
    history = ObservedUse(
        cpu_cores=None if demand is None else while_running(demand, latest),
        memory_bytes=while_running(memory.values, latest) if isinstance(memory, ResourceUsage) else None,
        step_seconds=context.snapshot.grid.step_seconds,
        validity_seconds=context.validity.total_seconds(),
        cpu_limit_cores=None if throttled else container.cpu_limit_cores,
        memory_limit_bytes=None if killed else container.memory_limit_bytes,
    )
    return ObservedContainer(use, throttled, killed, extract(history))
