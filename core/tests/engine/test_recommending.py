"""What a proposal claims stands in its recommendation, so that it can be checked later."""

from datetime import timedelta

import msgspec

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.plugin import Claim
from perfopt.testing import make_snapshot

SOURCE = """
from perfopt.plugin import Claim, OptimizationType, Prior, Proposal, hookimpl

class Promising:
    name, optimization_type = "promising", OptimizationType.LATENCY_OPTIMIZATION
    metrics, forecasts, prior = ("cpu_cores",), (), Prior()

    def propose(self, context):
        return Proposal(
            optimization_type=self.optimization_type, target=context.snapshot.workload.state,
            description="Keep.", no_change_needed=True,
            claim=Claim(latency_now_ms=100.0, latency_now_interval_ms=(90.0, 110.0)),
        )

@hookimpl
def perfopt_strategies():
    return [Promising()]
"""


def test_a_claim_comes_back_from_storage_as_it_was_made(install):
    install("promising", {"promising": "promising_plugin"}, files={"promising_plugin.py": SOURCE})
    config = Config(engine=EngineConfig(processes=1, deadline_seconds=20))
    types = (OptimizationType.LATENCY_OPTIMIZATION,)
    with Engine(probe_plugins(disabled=("resource", "latency")), config) as engine:
        (proposal,) = engine.analyze(make_snapshot(), types, timedelta(days=7)).recommendations
    stored = msgspec.json.decode(msgspec.json.encode(proposal.claim))
    claim = msgspec.convert(stored, Claim)
    assert claim == Claim(latency_now_ms=100.0, latency_now_interval_ms=(90.0, 110.0))
