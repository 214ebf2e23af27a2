"""An engine whose models change while it runs, and what its recommendations say they were made with."""

import hashlib
from datetime import timedelta

import pytest
from first_party import FIRST_PARTY
from note_kind import NOTE_KIND, note

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.errors import InvalidInputError
from perfopt.testing import make_snapshot

SOURCE = (
    NOTE_KIND
    + """
from typing import Annotated
import msgspec
from perfopt.plugin import OptimizationType, Proposal, SettingsFile, hookimpl

class Settings(msgspec.Struct, frozen=True):
    model: Annotated[SettingsFile | None, msgspec.Meta(extra={"model": "note"})] = None

@hookimpl
def perfopt_settings():
    return Settings

class Strategy:
    metrics, forecasts = ("cpu_cores",), ()

    def __init__(self, name, reads):
        from perfopt.plugin import Prior
        self.name, self.reads, self.prior = name, reads, Prior()
        self.optimization_type = OptimizationType.RESOURCE_OPTIMIZATION

    def propose(self, context):
        data = context.models.get("note") if self.reads else None
        return Proposal(
            optimization_type=self.optimization_type, target=context.snapshot.workload.state,
            description=NoteKind().load(data) if data else "none", no_change_needed=True,
        )

@hookimpl
def perfopt_strategies():
    return [Strategy("learnt", True), Strategy("plain", False)]

@hookimpl
def perfopt_models():
    return [NoteKind()]
"""
)


@pytest.fixture
def engine(install, tmp_path):
    install("reader", {"reader": "reader_plugin"}, files={"reader_plugin.py": SOURCE})
    path = tmp_path / "configured.npz"
    path.write_bytes(note("configured"))
    limits = EngineConfig(processes=1, deadline_seconds=20)
    config = Config(engine=limits, model=str(path))
    with Engine(probe_plugins(disabled=FIRST_PARTY), config) as opened:
        yield opened


def analyse(engine):
    types = (OptimizationType.RESOURCE_OPTIMIZATION,)
    made = engine.analyze(make_snapshot(), types, timedelta(days=7)).recommendations
    return {one.plugin: one for one in made}


def test_a_model_given_later_takes_the_place_of_the_configured_one_until_it_is_taken_away(engine):
    found = []
    for models in ({}, {"note": note("2")}, {"note": note("3")}, {}):
        engine.use_models(models)
        found.append(analyse(engine)["reader/learnt"])
    assert [one.description for one in found] == ["configured", "2", "3", "configured"]
    for one, version in zip(found, ("configured", "2", "3", "configured"), strict=True):
        assert one.models == {"note": hashlib.sha256(note(version)).hexdigest()}


def test_a_recommendation_names_the_model_only_where_it_was_read_and_its_plugin_s_version(engine):
    made = analyse(engine)
    assert made["reader/plain"].models == {}
    assert made["reader/plain"].plugin_version == "1.0"


@pytest.mark.parametrize(("models", "field"), [({"note": b"no model"}, "model"), ({"oracle": b""}, "kind")])
def test_what_can_not_be_used_is_refused_and_changes_nothing(engine, models, field):
    with pytest.raises(InvalidInputError) as caught:
        engine.use_models(models)
    assert caught.value.field == field
    assert analyse(engine)["reader/learnt"].description == "configured"


def test_the_kind_of_content_is_the_first_that_accepts_it_and_its_card_is_read(engine):
    checked = engine.check_model(note("hello"))
    assert (checked.kind, checked.card) == ("note", {"text": "hello"})
    assert engine.check_model(note("hello"), "note").card == {"text": "hello"}


def test_content_of_no_installed_kind_is_refused_by_naming_the_kinds(engine):
    with pytest.raises(InvalidInputError, match=r"No installed kind .* Known: .*note"):
        engine.check_model(b"?")


@pytest.mark.parametrize(
    ("text", "said"),
    [("hang", "longer than 3 s and was stopped"), ("exit", "exit code 3"), ("raise", "RuntimeError: no ink")],
)
def test_a_check_that_hangs_or_crashes_refuses_the_content_and_nothing_else(install, start, text, said):
    install("reader", {"reader": "reader_plugin"}, files={"reader_plugin.py": SOURCE})
    opened = start(deadline_seconds=3.0)
    with pytest.raises(InvalidInputError, match=said):
        opened.use_models({"note": note(text)})
    assert opened.check_model(note("after"), "note").card == {"text": "after"}
