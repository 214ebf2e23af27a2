import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Container, HpaState, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_tuning.strategy import KnobTuning

GIB, MIB = 2**30, 2**20
STEPS = 14 * 288


class Bench:
    """Asks the strategy about a container whose state and metrics a test writes down."""

    def __init__(self):
        self.strategy = KnobTuning()

    def context(
        self, *, metrics=None, service=None, annotations=None, slo=None, settings=None, hpa=None, replicas=2,
        memory_peak=None, cpu=0.3, steps=STEPS, **container,
    ):  # fmt: skip
        given = {"env": {}, "args": ()} | container
        measured = {"cpu_cores": np.full(steps, cpu)} | (metrics or {})
        if memory_peak is not None:
            measured["memory_bytes"] = np.full(steps, float(memory_peak))
        snapshot = make_snapshot(
            {"main": measured},
            service={
                name: np.full(steps, float(v)) if np.isscalar(v) else v for name, v in (service or {}).items()
            },
            state=WorkloadState(
                containers=(Container(name="main", **given),),
                replicas=replicas,
                hpa=None if hpa is None else HpaState(max_replicas=hpa),
            ),
        )
        workload = msgspec.structs.replace(snapshot.workload, annotations=annotations or {}, slo=slo)
        context = make_context(replace(snapshot, workload=workload))
        return replace(context, settings=settings or {})

    def ask(self, **given):
        return self.strategy.propose(self.context(**given))

    def knobs(self, **given):
        """Returns the knobs recommended for the container, {} where all are right."""
        proposal = self.ask(**given)
        return proposal.target.extra.get("knobs", {}).get("main", {})

    def settings(self, **given):
        """Returns how they are set; a rule that moves one sets it the same way, by the template."""
        proposal = self.ask(**given)
        how = proposal.target.extra["knob_settings"]["main"]
        text = json.dumps(proposal.data["knob_templates"]["main"])
        for name, value in proposal.target.extra["knobs"]["main"].items():
            text = text.replace(f"__{name}__", str(value))
        assert json.loads(text) == how
        return how


@pytest.fixture
def bench():
    return Bench()
