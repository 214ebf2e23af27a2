from importlib.metadata import EntryPoint

import pytest

from perfopt.config import Config
from perfopt.config.loading import EngineConfig
from perfopt_api.demo import samples


class Candidate:
    def __init__(self, plugin: str, distribution: str) -> None:
        self.point = EntryPoint(plugin, "module", "perfopt.plugins")
        self.identity = (plugin, distribution)


def test_the_demo_leaves_out_plugins_of_other_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [("perfopt", "perfopt"), ("resource", "perfopt-resource"), ("my-sizer", "my-sizer")]
    monkeypatch.setattr(samples, "candidates", lambda: [Candidate(*one) for one in installed])
    assert samples.third_party_plugins() == ("my-sizer",)


def test_what_the_user_disabled_stays_disabled() -> None:
    config = samples.without_plugins(Config(engine=EngineConfig(disabled_plugins="latency")), ("my-sizer",))
    assert config.engine.disabled() == ("latency", "my-sizer")
