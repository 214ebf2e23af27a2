"""Settings of plugins: read from file, environment and options, and checked by the plugin's own type."""

import zlib
from datetime import timedelta

import pytest
from config_file import write_config
from first_party import FIRST_PARTY

from perfopt.config.loading import load_config
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, load_plugins
from perfopt.engine.configure import configure
from perfopt.errors import InvalidInputError
from perfopt.testing import make_snapshot

SOURCE = """
from typing import Annotated
import msgspec
from msgspec import Meta
from perfopt.plugin import OptimizationType, Prior, Proposal, SettingsFile, hookimpl

class Settings(msgspec.Struct, frozen=True):
    headroom: Annotated[float, Meta(ge=1, extra={"deprecated": "plugins.pool-sizer.spare"})] = 1.25
    names: tuple[str, ...] = ()
    table: Annotated[SettingsFile | None, Meta(extra={"deprecated": "engine.pool_table"})] = None

    def __post_init__(self):
        SLOW

class Sizer:
    name, optimization_type = "sizer", OptimizationType.RESOURCE_OPTIMIZATION
    metrics, forecasts, prior = ("cpu_cores",), (), Prior()

    def propose(self, context):
        read = context.settings_as(Settings)
        table = None if read.table is None else read.table.content.decode()
        return Proposal(
            optimization_type=self.optimization_type, target=context.snapshot.workload.state,
            description=f"{read.headroom} {read.names} {table} {context.settings['headroom']}",
            no_change_needed=True,
        )

@hookimpl
def perfopt_strategies():
    return [Sizer()]

@hookimpl
def perfopt_settings():
    return Settings
"""


@pytest.fixture
def put(install):
    def put(check="pass"):
        source = SOURCE.replace("SLOW", check)
        module = f"sizer_{zlib.crc32(source.encode())}"  # imported into this process: a name for each
        install("pool-sizer", {"pool-sizer": module}, files={f"{module}.py": source})
        return load_plugins(disabled=FIRST_PARTY)

    return put


def read(tmp_path, text, given=(), **environ):
    path = write_config(tmp_path, text)
    return load_config(path, environ, given)


def test_settings_are_described_where_plugins_are_listed(put):
    (info,) = [plugin for plugin in put().plugins if plugin.name == "pool-sizer"]
    assert [(one.name, one.type, one.default) for one in info.settings] == [
        ("headroom", "number, at least 1", 1.25),
        ("names", "list of text", ()),
        ("table", "path of a file", None),
    ]


def test_options_go_before_variables_and_variables_before_the_file(put, tmp_path):
    registry = put()
    text = "plugins:\n  pool-sizer:\n    headroom: 2\n    names: [a]\n"
    variable = {"PERFOPT_PLUGINS__POOL_SIZER__HEADROOM": "3"}
    found = [
        configure(registry, config).values["pool-sizer"]
        for config in (
            read(tmp_path, ""),
            read(tmp_path, text),
            read(tmp_path, text, **variable),
            read(tmp_path, text, ["pool-sizer.headroom=4", "pool-sizer.names=[b, c]"], **variable),
        )
    ]
    assert [(one["headroom"], one["names"]) for one in found] == [
        (1.25, ()),
        (2, ["a"]),
        (3, ["a"]),
        (4, ["b", "c"]),
    ]


def test_origins_of_settings_are_known(put, tmp_path):
    text = "plugins:\n  pool-sizer:\n    headroom: 2\n    names: [a]\n"
    document = configure(put(), read(tmp_path, text, ["pool-sizer.headroom=4"])).document
    assert document.origin(("plugins", "pool-sizer", "headroom")) == "--set"
    assert document.origin(("plugins", "pool-sizer", "names")).endswith("perfopt.yaml:4")
    assert document.origin(("plugins", "pool-sizer", "table")) is None


def test_strategies_get_the_settings_and_the_content_of_files(put, tmp_path):
    (tmp_path / "table.csv").write_text("1,2")
    config = read(tmp_path, f"plugins: {{pool-sizer: {{headroom: 2, table: {tmp_path}/table.csv}}}}\n")
    with Engine(put(), config) as engine:
        kinds = (OptimizationType.RESOURCE_OPTIMIZATION,)
        result = engine.analyze(make_snapshot(), kinds, timedelta(days=7))
    assert result.recommendations[0].description == "2.0 () 1,2 2.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "plugins:\n  pool-sizer:\n    headroom: lots\n",
            "plugins.pool-sizer.headroom: Expected number, at least 1, got text. (FILE:3) Correct the value.",
        ),
        (
            "plugins:\n  pool-sizer:\n    headroom: 0.5\n",
            "plugins.pool-sizer.headroom: Expected number, at least 1. (FILE:3) Correct the value.",
        ),
        (
            "plugins:\n  pool-sizer:\n    room: 2\n",
            "plugins.pool-sizer.room: The plugin 'pool-sizer' has no setting 'room'. (FILE:3)"
            " It has: headroom, names, table.",
        ),
        (
            "plugins:\n  pool-siser: {}\n",
            "plugins.pool-siser: There is no plugin 'pool-siser', so it has no settings. (FILE:2)"
            " Did you mean 'pool-sizer'?",
        ),
        (
            "plugins:\n  pool-sizer:\n    table: none.csv\n",
            "plugins.pool-sizer.table: none.csv can't be read: No such file or directory. (FILE:3)"
            " Check the path and its mode.",
        ),
        (
            "plugins:\n  pool-sizer:\n    table: [1]\n",
            "plugins.pool-sizer.table: Expected the path of a file. (FILE:3) Correct the value.",
        ),
        (
            "engine:\n  bananas: 2\n",
            "engine.bananas: There is no field 'bananas' here. (FILE:2) Known: deadline_seconds,",
        ),
        (
            "engine:\n  forecasters: [fleat]\n",
            "engine.forecasters: There is no forecaster named 'fleat'. (FILE:2) Installed: ",
        ),
        (
            "engine:\n  pool_table: 2\n",
            "engine.pool_table: Expected the path of a file. (FILE:2) Correct the value.",
        ),
    ],
)
def test_a_mistake_names_the_setting_its_place_and_the_remedy(put, tmp_path, text, message):
    config = read(tmp_path, text)
    with pytest.raises(InvalidInputError) as caught:
        configure(put(), config)
    assert str(caught.value).replace(f"{tmp_path}/perfopt.yaml", "FILE").startswith(message)


def test_a_mistake_in_an_option_or_a_variable_names_it(put):
    registry = put()
    for given, environ, place in (
        (["pool-siser.headroom=2"], {}, "--set"),
        (["pool-sizer.headroom=x"], {}, "--set"),
        ([], {"PERFOPT_PLUGINS__POOL_SIZER__HEADROOM": "x"}, "PERFOPT_PLUGINS__POOL_SIZER__HEADROOM"),
    ):
        with pytest.raises(InvalidInputError, match=rf"\({place}\)"):
            configure(registry, load_config(None, environ, given))


@pytest.mark.parametrize(
    "given", ["headroom=2", "pool-sizer.headroom", "pool-sizer.=2", ".headroom=2", "a.b=[1"]
)
def test_an_option_that_is_no_setting_is_refused(given):
    with pytest.raises(InvalidInputError) as caught:
        load_config(None, {}, [given])
    assert caught.value.field == "--set"


@pytest.mark.parametrize(
    ("text", "old", "headroom"),
    [
        ("plugins:\n  pool-sizer:\n    spare: 2\n", "plugins.pool-sizer.spare", 2.0),
        ("plugins:\n  pool-sizer:\n    spare: 2\n    headroom: 3\n", "plugins.pool-sizer.spare", 3.0),
        ("engine:\n  pool_table: TABLE\n", "engine.pool_table", 1.25),
    ],
)
def test_an_old_name_is_read_with_a_warning(put, tmp_path, text, old, headroom):
    (tmp_path / "table.csv").write_text("1,2")
    settings = configure(put(), read(tmp_path, text.replace("TABLE", f"{tmp_path}/table.csv")))
    (warning,) = settings.warnings
    assert warning.code == "deprecated_setting"
    assert f"The setting {old} ({tmp_path}/perfopt.yaml:" in warning.message
    assert "rename it to plugins.pool-sizer." in warning.message
    assert settings.values["pool-sizer"]["headroom"] == headroom
    assert "spare" not in settings.values["pool-sizer"]


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("import threading; threading.Event().wait()", "checking pool-sizer took longer than"),
        ("import os; os._exit(3)", "checking pool-sizer ended its process with exit code 3"),
        ("1 / 0", "Checking settings of 'pool-sizer' raised ZeroDivisionError"),
        ("raise ValueError('no such pool')", "no such pool"),
    ],
)
def test_a_type_that_hangs_or_crashes_is_an_error_with_its_plugin(put, tmp_path, check, problem):
    registry = put(f"if self.headroom == 2: {check}")
    config = read(tmp_path, "plugins: {pool-sizer: {headroom: 2}}\n")
    with pytest.raises(InvalidInputError, match=problem):
        configure(registry, config, deadline_seconds=10)


def test_settings_of_a_disabled_plugin_are_left_alone(put, tmp_path):
    put()
    registry = load_plugins(disabled=(*FIRST_PARTY, "pool-sizer"))
    settings = configure(registry, read(tmp_path, "plugins: {pool-sizer: {room: 2}}\n"))
    assert "pool-sizer" not in settings.values


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ("dict", "it returns a class derived from msgspec.Struct"),
        ("type('S', (msgspec.Struct,), {})", "can be altered; declare the struct with frozen=True"),
        ("msgspec.defstruct('S', [('size', int)], frozen=True)", "have no default for size"),
    ],
)
def test_a_plugin_with_unfit_settings_does_not_load(install, hook, problem):
    head = "import msgspec\nfrom perfopt.plugin import hookimpl\n"
    source = f"{head}@hookimpl\ndef perfopt_settings():\n    return {hook}\n"
    module = f"unfit_{zlib.crc32(source.encode())}"
    install("unfit", {"unfit": module}, files={f"{module}.py": source})
    (info,) = [plugin for plugin in load_plugins(disabled=FIRST_PARTY).plugins if plugin.name == "unfit"]
    assert info.status == "failed"
    assert problem in info.error


def test_a_plugin_to_leave_out_that_is_gone_is_a_warning(put, tmp_path):
    config = read(tmp_path, "engine:\n  disabled_plugins: pool-siser\n")
    (warning,) = configure(put(), config).warnings
    assert warning.code == "unknown_plugin"
    assert "'pool-siser', which is not installed: " in warning.message
