"""What a strategy knows of one proposal, and what it is told of models."""

from datetime import timedelta

import pytest
from first_party import FIRST_PARTY
from note_kind import NOTE_KIND, note

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.errors import InvalidInputError
from perfopt.testing import make_snapshot

WEEK = timedelta(days=7)
RESOURCE = (OptimizationType.RESOURCE_OPTIMIZATION,)
SOURCE = f"""{NOTE_KIND}
from typing import Annotated
import msgspec
from perfopt.plugin import OptimizationType, Prior, Proposal, SettingsFile, hookimpl

class Settings(msgspec.Struct, frozen=True):
    model: Annotated[SettingsFile | None, msgspec.Meta(extra={{"model": "note"}})] = None

@hookimpl
def perfopt_settings():
    return Settings

class Sure:
    name, optimization_type = "sure", OptimizationType.RESOURCE_OPTIMIZATION
    metrics, forecasts, prior = ("cpu_cores",), (), Prior()

    def propose(self, context):
        named = sorted(f"{{kind}} {{NoteKind().load(data)}}" for kind, data in context.models.items())
        return Proposal(
            optimization_type=self.optimization_type, target=context.snapshot.workload.state,
            description="Keep.", no_change_needed=True,
            prior=Prior(mean=MEAN, strength=1e6, source=f"this very proposal; models: {{', '.join(named)}}"),
        )

@hookimpl
def perfopt_strategies():
    return [Sure()]

@hookimpl
def perfopt_models():
    return [NoteKind()]
"""


def analyse(install, mean, **settings):
    install("sure", {"sure": "sure_plugin"}, files={"sure_plugin.py": SOURCE.replace("MEAN", mean)})
    plugins = {"sure": settings} if settings else {}
    config = Config(engine=EngineConfig(processes=1, deadline_seconds=20), plugins=plugins)
    with Engine(probe_plugins(disabled=FIRST_PARTY), config) as engine:
        return engine.analyze(make_snapshot(), RESOURCE, WEEK)


def test_a_prior_of_the_proposal_goes_before_that_of_the_strategy(install):
    (recommendation,) = analyse(install, "0.83").recommendations
    assert recommendation.expected_improvement.confidence == pytest.approx(0.83, abs=1e-4)
    assert recommendation.confidence_detail.prior == 0.83
    assert recommendation.confidence_detail.prior_source == "this very proposal; models: "


def test_a_prior_that_is_no_probability_costs_the_proposal(install):
    result = analyse(install, "1.2")
    assert result.recommendations == ()
    assert "a prior whose mean is not in [0, 1]" in result.warnings[0].message


def test_the_configured_model_reaches_strategies_in_their_processes(install, tmp_path):
    (tmp_path / "model.note").write_bytes(note("hello"))
    (recommendation,) = analyse(install, "0.5", model=str(tmp_path / "model.note")).recommendations
    assert recommendation.confidence_detail.prior_source.endswith("models: note hello")


def test_an_engine_with_a_model_that_can_not_be_read_does_not_start(install, tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.npz can't be read: No such file"):
        analyse(install, "0.5", model=str(tmp_path / "none.npz"))
