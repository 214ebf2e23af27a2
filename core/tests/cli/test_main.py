import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import EntryPoint, version

import click
import pytest
import yaml
from config_file import write_config

import perfopt.cli.main

PERFOPT = [sys.executable, "-c", "from perfopt.cli.main import main; main()"]


def test_version(run):
    assert run("--version").stdout == f"perfopt {version('perfopt')}\n"


def test_help_lists_the_commands(run):
    text = run("--help").stdout
    assert all(name in text for name in ("analyze", "config", "plugin"))


def test_start_up_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from perfopt.cli.main import cli\n"
        "cli.main(['analyze', '--help'], standalone_mode=False)\n"
        "heavy = {'pyarrow', 'numpy', 'httpx', 'pandas', 'rich', 'perfopt.engine'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@click.command()
def hello():
    """Says hello."""
    click.echo("hello")


@pytest.fixture
def extensions(monkeypatch):
    points = (
        EntryPoint("hello", f"{__name__}:hello", perfopt.cli.main.COMMAND_GROUP),
        EntryPoint("broken", "perfopt_no_such_module:command", perfopt.cli.main.COMMAND_GROUP),
        EntryPoint("number", "math:pi", perfopt.cli.main.COMMAND_GROUP),
        EntryPoint("analyze", "math:pi", perfopt.cli.main.COMMAND_GROUP),
    )
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    monkeypatch.setattr("perfopt.cli.main.entry_points", lambda group: points)


def _this_module():
    module = type(sys)(__name__)
    vars(module)["hello"] = hello
    return module


def test_extensions_add_commands_and_a_broken_one_is_a_warning(run, extensions):
    shown = run("--help")
    assert shown.exit_code == 0
    assert re.search(r"hello +Says hello\.", shown.stdout)
    assert re.search(r"analyze +Recommend ", shown.stdout)
    assert (
        "Warning: the command 'broken' can't be loaded: ModuleNotFoundError:"
        " No module named 'perfopt_no_such_module'. Update or uninstall it.\n" in shown.stderr
    )
    assert "the command 'number' can't be loaded: math:pi is not a click command." in shown.stderr
    assert run("hello").stdout == "hello\n"
    assert run("broken").exit_code == 2


def test_config_show_in_both_formats(run, tmp_path):
    path = write_config(
        tmp_path, "sources:\n  prod: {type: prometheus, url: 'http://u:hunter2@p:9090', password: hunter2}\n"
    )
    as_yaml = yaml.safe_load(run("config", "show", "--config", path).stdout)
    as_json = json.loads(run("config", "show", "--config", path, "--format", "json").stdout)
    origins = as_json.pop("origins")
    assert as_yaml == as_json
    assert origins["sources.prod.type"] == f"{path}:2"
    assert origins["plugins.tuning.knob_catalogue"] == "default"
    assert as_json["sources"]["prod"]["url"] == "http://u:***@p:9090"
    assert "hunter2" not in run("config", "show", "--config", path).stdout


def test_plugin_list_in_both_formats(run):
    listed = json.loads(run("plugin", "list", "--format", "json").stdout)
    table = run("plugin", "list").stdout
    for plugin in listed:
        assert {"name", "version", "types", "status", "error"} <= plugin.keys()
        assert plugin["name"] in table
    assert table.startswith("NAME" if listed else "No plugin is installed.")


def test_nothing_is_searched_for_cycles_on_the_way_out():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000));"
        " from perfopt.cli.main import main; main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def test_a_reader_that_goes_away_is_no_error(traces):
    command = [*PERFOPT, "analyze", "--source", str(traces), "--all", "--format", "ndjson"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (1, 141)


def test_an_interrupt_ends_it_in_one_line(tmp_path):
    """The source is a pipe that nobody writes to, so the command waits until it is interrupted."""
    config = tmp_path / "wait.yaml"
    os.mkfifo(config)
    # in the background of a shell, where a CI may run, this process ignores SIGINT, and so would its child
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeding}; {PERFOPT[-1]}"
    command = [sys.executable, "-c", code, "config", "show", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        writer = os.open(config, os.O_WRONLY)  # returns once the command has opened it to read
        while process.poll() is None:  # one that comes just before the read begins is seen only after it
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
        errors = process.stderr.read()
        os.close(writer)
    assert (process.returncode, errors) == (130, b"Interrupted.\n")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["analyse"], "analyze"),
        (["rules", "lst"], "list"),
        (["plugin", "chek"], "check"),
        (["model", "promot"], "promote"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(run, arguments, nearest):
    done = run(*arguments)
    assert done.exit_code == 2
    assert f"No such command {arguments[-1]!r}. Did you mean {nearest!r}?" in done.stderr


def test_a_command_like_no_other_has_no_suggestion(run):
    done = run("xyzzy")
    assert (done.exit_code, "Did you mean" in done.stderr) == (2, False)


@pytest.mark.parametrize("arguments", [["explain", "opt_1"], ["rules", "explain"]])
def test_an_empty_input_says_what_to_give(run, arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: --input: The input is empty. Give what `perfopt analyze")
