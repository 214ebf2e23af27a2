import msgspec
import pytest

from perfopt.plugin import Container, HpaState, Prior, Proposal, WorkloadState
from perfopt_cost.calibration import DemandBound
from perfopt_cost.certainty import stated_prior
from perfopt_cost.demand import ContainerDemand

GENERAL = Prior(mean=0.91, strength=6.0, source="a fleet")
MAIN = Container(name="main", cpu_request_cores=2.0, memory_request_bytes=2000, memory_limit_bytes=3000)
CURRENT = WorkloadState(containers=(MAIN,), replicas=4)


class Proportional:
    """Says that a size is enough with the probability size / scale."""

    def __init__(self, scale):
        self.scale = scale

    def probability(self, size):
        return size / self.scale


def prior_of(kind="COST_OPTIMIZATION", known=True, no_change=False, **target):
    container = {key: target.pop(key) for key in list(target) if key in Container.__struct_fields__}
    to = msgspec.structs.replace(CURRENT, containers=(msgspec.structs.replace(MAIN, **container),), **target)
    proposal = Proposal(optimization_type=kind, target=to, description="", no_change_needed=no_change)
    cpu, memory = (
        DemandBound(1.0, 1.0, 0.9, Proportional(scale) if known else None) for scale in (4.0, 4000.0)
    )
    need = ContainerDemand("main", cpu, memory, memory_least=400.0, cpu_seen=1.0, shape=None)
    return stated_prior(GENERAL, CURRENT, proposal, [need])


def test_what_changes_is_stated_and_what_stays_is_not():
    assert prior_of(cpu_request_cores=1.0).mean == 0.25
    assert prior_of(memory_request_bytes=1000).mean == 0.25
    assert prior_of(cpu_request_cores=1.0, memory_request_bytes=1000).mean == 0.0625
    assert prior_of(no_change=True).mean == 0.25  # 2 of 4 cores and 2000 of 4000 bytes


def test_the_source_names_the_parts_and_keeps_the_strength():
    found = prior_of(cpu_request_cores=1.0)
    assert found.source == "by history, load and size of the cut: main cpu 0.25; a fleet"
    assert found.strength == GENERAL.strength


def test_without_a_model_or_a_size_that_changes_the_general_prior_stays():
    assert prior_of(known=False, cpu_request_cores=1.0) is GENERAL
    assert prior_of(extra={"node_type": "small"}) is GENERAL


@pytest.mark.parametrize(
    "fewer",
    [
        {"replicas": 2},
        {"replicas": 2, "hpa": HpaState(min_replicas=2, max_replicas=9)},
    ],
)
def test_fewer_replicas_leave_less_of_each_size(fewer):
    # cpu 2 of 4 cores at half of the replicas; of memory 400 stay and 1600 count half
    assert prior_of(**fewer).mean == pytest.approx((2.0 / 2 / 4) * (400 + 1600 / 2) / 4000)


def test_memory_is_for_the_fewest_replicas_of_a_schedule_and_cpu_for_the_most():
    entries = [{"start": "a", "end": "b", "min_replicas": count} for count in (4, 2)]
    assert prior_of(extra={"schedule": entries}).mean == pytest.approx(0.5 * (400 + 1600 / 2) / 4000)
