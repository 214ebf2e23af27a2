import pytest
from first_party import FIRST_PARTY

from perfopt.domain.enums import OptimizationType
from perfopt.engine import probe_plugins

GOOD = "perfopt.testing.examples:PEAK"
HOOK = "from perfopt.plugin import hookimpl\n@hookimpl\ndef {}():\n    return {}\n"
SLEEP = "import threading; threading.Event().wait()"


def found(registry, name):
    return [plugin for plugin in registry.plugins if plugin.name == name]


def test_a_plugin_is_shown_with_name_version_and_types(install):
    install("my-dist", {"mine": GOOD}, version="3.1")
    registry = probe_plugins(disabled=FIRST_PARTY)
    (info,) = found(registry, "mine")
    assert (info.distribution, info.version, info.status, info.error) == ("my-dist", "3.1", "loaded", None)
    assert info.types == (OptimizationType.RESOURCE_OPTIMIZATION,)
    assert [strategy.key for strategy in registry.strategies] == ["mine/peak"]


@pytest.mark.parametrize(
    ("target", "files", "requires", "said"),
    [
        ("not_there", {}, "perfopt", "ModuleNotFoundError"),
        ("broken", {"broken.py": "1/0"}, "perfopt", "ZeroDivisionError"),
        ("leaver", {"leaver.py": "import sys; sys.exit(4)"}, "perfopt", "SystemExit: 4"),
        ("quitter", {"quitter.py": "import os; os._exit(4)"}, "perfopt", "exit code 4"),
        (
            "sleeper",
            {"sleeper.py": SLEEP},
            "perfopt",
            "longer than 2 s",
        ),
        (
            "newer",
            {"newer.py": "import os; os._exit(1)"},
            "perfopt>=99",
            "requires perfopt>=99",
        ),
        ("nothing", {"nothing.py": ""}, "perfopt", "implements no hook"),
        (
            "unknown",
            {"unknown.py": HOOK.format("perfopt_stratgies", "[]")},
            "perfopt",
            "perfopt_stratgies",
        ),
        (
            "noisy",
            {"noisy.py": HOOK.format("perfopt_strategies", "[1]")},
            "perfopt",
            "lacks name",
        ),
        ("perfopt.testing.bad:UNPICKLABLE", {}, "perfopt", "can't be pickled"),
        ("perfopt.testing.bad:BAD_NAME", {}, "perfopt", "not of the form"),
        ("perfopt.testing.bad:UNKNOWN_METRIC", {}, "perfopt", "happiness"),
        (
            "greedy:greedy",
            {
                "greedy.py": "from perfopt.testing.examples import *\n"
                'class Greedy(PeakStrategy):\n    holds = ("replicas",)\n'
                "greedy = ExamplePlugin(Greedy())"
            },
            "perfopt",
            "has holds that are not a sequence of cpu_request",
        ),
    ],
)
def test_a_broken_plugin_is_shown_and_the_good_one_loads(install, target, files, requires, said):
    install("good", {"good": GOOD})
    install("bad", {"bad": target}, files=files, requires=requires)
    registry = probe_plugins(disabled=FIRST_PARTY, deadline_seconds=2)
    (info,) = found(registry, "bad")
    assert info.status == "failed"
    assert said in info.error
    assert [strategy.key for strategy in registry.strategies] == ["good/peak"]


def test_two_plugins_of_one_name_are_both_shown_and_the_second_failed(install):
    install("a-first", {"same": GOOD})
    install("b-second", {"same": GOOD})
    registry = probe_plugins(disabled=FIRST_PARTY)
    first, second = found(registry, "same")
    assert (first.distribution, first.status) == ("a-first", "loaded")
    assert (second.distribution, second.status) == ("b-second", "failed")
    assert "a-first" in second.error
    assert len(registry.strategies) == 1


def test_a_disabled_plugin_is_listed_and_not_imported(install):
    install("bad", {"bad": "quitter"}, files={"quitter.py": "import os; os._exit(4)"})
    (info,) = found(probe_plugins(disabled=(*FIRST_PARTY, "bad")), "bad")
    assert (info.status, info.error) == ("disabled", None)


def test_a_version_requirement_with_a_foreign_marker_does_not_count(install):
    install("good", {"good": GOOD}, requires='perfopt>=99; python_version < "3"')
    (info,) = found(probe_plugins(disabled=FIRST_PARTY), "good")
    assert info.status == "loaded"


KIND = """from dataclasses import dataclass
from perfopt.plugin import hookimpl

@dataclass(frozen=True)
class Kind:
    kind: str
    description: str = "load of a service"
    trainer: None = None

    def load(self, content):
        return content

    def check(self, content):
        return {}

@hookimpl
def perfopt_models():
    return [Kind("flow"), Kind("load")]
"""


def test_the_kinds_of_models_that_a_plugin_brings_are_known():
    (own,) = found(probe_plugins(disabled=FIRST_PARTY), "perfopt")
    assert (own.status, "latency" in own.models, own.types) == ("loaded", True, ())


def test_a_plugin_may_bring_kinds_of_models_only(install):
    install("modeller", {"modeller": "modeller_plugin"}, files={"modeller_plugin.py": KIND})
    registry = probe_plugins(disabled=FIRST_PARTY)
    (info,) = found(registry, "modeller")
    assert (info.status, info.models) == ("loaded", ("flow", "load"))
    (load,) = [kind for kind in registry.models if kind.kind == "load"]
    assert (load.plugin, load.trainable) == ("modeller", False)
    assert [kind.kind for kind in registry.models] == sorted(kind.kind for kind in registry.models)


def test_a_kind_of_model_that_another_plugin_brings_fails_the_second(install):
    install("a-first", {"first": "first_plugin"}, files={"first_plugin.py": KIND})
    install("b-second", {"second": "second_plugin"}, files={"second_plugin.py": KIND})
    (info,) = found(probe_plugins(disabled=FIRST_PARTY), "second")
    assert info.status == "failed"
    assert "kind of model named 'flow'" in info.error
