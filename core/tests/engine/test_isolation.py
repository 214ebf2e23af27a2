"""A good plugin beside bad ones, in real processes: its recommendation is there, and the bad one is named."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psutil
import pytest
from first_party import FIRST_PARTY

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.engine import Engine, messages
from perfopt.engine.child import ChildProcess
from perfopt.engine.isolation import EngineClosedError
from perfopt.testing import make_snapshot

WEEK = timedelta(days=7)
RESOURCE = (OptimizationType.RESOURCE_OPTIMIZATION,)


def engine_workers():
    """The engine's processes: other tests of this run may keep servers of their own."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            if "perfopt.engine.worker:main" in child.cmdline():
                found.append(child)
    return found


@pytest.mark.parametrize(
    ("plugin", "code", "said"),
    [
        ("RAISES", "plugin_failed", "raised ValueError: I can't do this (bad.py, line"),
        ("SYSTEM_EXIT", "plugin_failed", "raised SystemExit: bye"),
        ("HANGS", "plugin_timed_out", "took longer than 1 s and was stopped"),
        ("SPINS", "plugin_timed_out", "took longer than 1 s and was stopped"),
        ("EXITS", "plugin_crashed", "exit code 3"),
        ("SEGFAULTS", "plugin_crashed", "signal 11"),
        ("EATS_MEMORY", "plugin_memory", "where 300 MiB are allowed"),
        ("MUTATES", "plugin_failed", "read-only"),
        ("WRONG_TYPE", "plugin_failed", "returned a result of type COST_OPTIMIZATION"),
        ("RETURNS_NONE", "plugin_failed", "returned NoneType in place of a Proposal"),
        ("UNENCODABLE", "plugin_failed", "msgspec can't carry"),
        (
            "INCOMPLETE",
            "plugin_failed",
            "it has the containers [] and the workload has [main]",
        ),
        ("NOT_A_NUMBER", "plugin_failed", "cpu_request_cores = nan"),
        ("ABOVE_LIMIT", "plugin_failed", "above cpu_limit_cores"),
        ("TALKS_TOO_MUCH", "plugin_failed", "bytes where 131072 are allowed"),
        ("UNSTORABLE", "plugin_failed", "the character NUL, which cannot be stored"),
        ("RAISES_UNSTORABLE", "plugin_failed", r"raised ValueError: \x00 and \ud800"),
    ],
)
def test_the_good_recommendation_is_still_there(install, start, plugin, code, said):
    install("good", {"zz-good": "perfopt.testing.examples:PEAK"})
    install("bad", {"bad": f"perfopt.testing.bad:{plugin}"}, version="2.5")
    started = time.monotonic()
    engine = start(deadline_seconds=30 if plugin == "EATS_MEMORY" else 1)
    result = engine.analyze(make_snapshot(), RESOURCE, WEEK)
    assert [made.plugin for made in result.recommendations] == ["zz-good/peak"]
    assert result.recommendations[0].evidence.windows
    assert result.declined == ()
    (warning,) = result.warnings
    assert warning.code == code
    assert said in warning.message
    assert warning.plugin is not None
    assert warning.plugin.startswith("bad/")
    assert "2.5" in warning.message
    assert time.monotonic() - started < 25


def test_alone_it_leaves_the_type_declined_with_the_reason(install, start):
    install("bad", {"bad": "perfopt.testing.bad:EXITS"})
    result = start().analyze(make_snapshot(), RESOURCE, WEEK)
    assert result.recommendations == ()
    (declined,) = result.declined
    assert declined.code is DeclineCode.STRATEGY_FAILED
    assert "bad/exits ended its process with exit code 3" in declined.reason


def test_three_failures_in_a_row_set_the_plugin_aside(install, start):
    install("good", {"zz-good": "perfopt.testing.examples:PEAK"})
    install("bad", {"bad": "perfopt.testing.bad:RAISES"})
    engine = start()
    codes = [engine.analyze(make_snapshot(), RESOURCE, WEEK).warnings[0].code for _ in range(5)]
    assert codes == ["plugin_failed"] * 3 + ["plugin_set_aside"] * 2


def test_printing_in_a_plugin_spoils_no_answer_and_no_output(install, start, capfd):
    source = """
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
import os
class Chatty(PeakStrategy):
    name = "chatty"
    def propose(self, context):
        print("hello from the plugin")
        os.write(1, b"and from below python")
        return super().propose(context)
PLUGIN = ExamplePlugin(Chatty())
"""
    install("chatty", {"chatty": "chatty_plugin:PLUGIN"}, files={"chatty_plugin.py": source})
    result = start().analyze(make_snapshot(), RESOURCE, WEEK)
    assert len(result.recommendations) == 1
    output = capfd.readouterr()
    assert output.out == ""
    assert "and from below python" in output.err


def test_what_earlier_runs_left_in_memory_is_not_held_against_a_later_strategy(install, start):
    source = """
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
kept = []
class Leaks(PeakStrategy):
    name = "leaks"
    def propose(self, context):
        kept.append(b"x" * (8 * 2**20))
        return super().propose(context)
PLUGIN = ExamplePlugin(Leaks())
"""
    install("leaky", {"leaky": "leaky_plugin:PLUGIN"}, files={"leaky_plugin.py": source})
    engine = start(deadline_seconds=20)
    for _ in range(8):  # 6 calls each with the replays: the fifth or so is over the limit of 300 MiB
        result = engine.analyze(make_snapshot(), RESOURCE, WEEK)
        assert (len(result.recommendations), result.warnings) == (1, ())


def test_results_do_not_depend_on_the_number_of_processes_or_threads(install, start):
    install("good", {"good": "perfopt.testing.examples:PEAK"})
    snapshots = [make_snapshot(name=f"service-{number}") for number in range(6)]
    alone = start(deadline_seconds=10)
    expected = [messages.encode(alone.analyze(snapshot, RESOURCE, WEEK)) for snapshot in snapshots]
    shared = start(deadline_seconds=10, processes=3)
    answers: dict[int, bytes] = {}

    def work(number: int) -> None:
        answers[number] = messages.encode(shared.analyze(snapshots[number], RESOURCE, WEEK))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[number] for number in range(6)] == expected


def test_closing_the_engine_leaves_no_process(install, start):
    install("good", {"good": "perfopt.testing.examples:PEAK"})
    engine = start()
    engine.analyze(make_snapshot(), RESOURCE, WEEK)
    workers = engine_workers()
    assert workers
    engine.close()
    assert not [worker for worker in workers if worker.is_running() and worker.ppid() == os.getpid()]
    with pytest.raises(EngineClosedError):
        engine.analyze(make_snapshot(), RESOURCE, WEEK)


def test_closing_the_engine_ends_an_analysis_under_way(install, start):
    install("bad", {"bad": "perfopt.testing.bad:HANGS"})
    engine = start(deadline_seconds=600)
    with ThreadPoolExecutor(1) as threads:
        analysis = threads.submit(engine.analyze, make_snapshot(), RESOURCE, WEEK)
        give_up = time.monotonic() + 30
        while not engine_workers() and time.monotonic() < give_up:
            threading.Event().wait(0.01)
        engine.close()
        with pytest.raises(EngineClosedError):
            analysis.result(timeout=30)
    assert engine_workers() == []


def test_a_worker_that_the_system_ended_while_idle_costs_nothing(install, start):
    install("good", {"good": "perfopt.testing.examples:PEAK"})
    engine = start()
    engine.analyze(make_snapshot(), RESOURCE, WEEK)
    (worker,) = engine_workers()
    worker.kill()
    give_up = time.monotonic() + 10
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < give_up:
        threading.Event().wait(0.01)
    result = engine.analyze(make_snapshot(), RESOURCE, WEEK)
    assert (len(result.recommendations), result.warnings) == (1, ())


def test_workers_die_with_the_parent(install, start):
    """The parent is itself a child here, killed without a chance to clean up while a strategy hangs."""
    source = """
import sys
from datetime import timedelta
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine import Engine, probe_plugins
from perfopt.engine.channel import MessageChannel
from perfopt.testing import make_snapshot
from first_party import FIRST_PARTY
import perfopt.engine.isolation as isolation

def main():
    channel = MessageChannel()
    set_up = isolation.set_up
    def telling(child, *rest):
        registry = set_up(child, *rest)
        channel.send(str(child.pid).encode())
        return registry
    isolation.set_up = telling
    engine = Engine(probe_plugins(disabled=FIRST_PARTY), Config(engine=EngineConfig(deadline_seconds=600)))
    engine.analyze(make_snapshot(), (OptimizationType.RESOURCE_OPTIMIZATION,), timedelta(days=7))
"""
    install("bad", {"bad": "perfopt.testing.bad:HANGS"}, files={"parent_of_hanging.py": source})
    parent = ChildProcess("parent_of_hanging:main")
    worker = psutil.Process(int(parent.receive(30)))
    psutil.Process(parent.pid).kill()
    parent.kill()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_settings_with_passwords_are_not_handed_to_plugins(install, start, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_TOKEN", "secret")  # settings name variables of any name
    source = """
import os, msgspec
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
class Nosy(PeakStrategy):
    name = "nosy"
    def propose(self, context):
        made = super().propose(context)
        return msgspec.structs.replace(made, description=str(os.environ.get("PROMETHEUS_TOKEN")))
PLUGIN = ExamplePlugin(Nosy())
"""
    install("nosy", {"nosy": "nosy_plugin:PLUGIN"}, files={"nosy_plugin.py": source})
    result = start().analyze(make_snapshot(), RESOURCE, WEEK)
    assert result.recommendations[0].description == "None"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("os._exit(3)", "exit code 3"),
        ("time.sleep(60)", "took longer"),
        ("raise ValueError('x')", "ValueError"),
    ],
)
def test_merge_that_fails_is_contained_and_named(install, start, body, error):
    source = f"""
import os, time
from perfopt.engine import worker
from perfopt.testing.examples import ExamplePlugin, PeakStrategy
def merge(*_, **__):
    {body}
worker.assemble = merge
PLUGIN = ExamplePlugin(PeakStrategy())
"""
    install("stuck", {"aa": "stuck_merge:PLUGIN"}, files={"stuck_merge.py": source})
    result = start(deadline_seconds=3).analyze(make_snapshot(), RESOURCE, WEEK)
    assert result.recommendations == ()
    assert [one.code for one in result.declined] == ["strategy_failed"]
    assert [one.code for one in result.warnings if one.code == "merge_failed"]
    assert error in result.declined[0].reason


@pytest.fixture
def opened(install):
    """An engine as users open it, on one process."""
    install("good", {"good": "perfopt.testing.examples:PEAK"})
    limits = EngineConfig(processes=1, memory_limit_mib=300, disabled_plugins=tuple(FIRST_PARTY))
    with Engine.open(Config(engine=limits)) as engine:
        yield engine


def test_the_process_that_loaded_the_plugins_is_the_first_worker(opened):
    (loaded,) = engine_workers()
    result = opened.analyze(make_snapshot(), RESOURCE, WEEK)
    assert len(result.recommendations) == 1
    assert [worker.pid for worker in engine_workers()] == [loaded.pid]


def test_a_first_worker_that_ended_before_its_use_is_replaced(opened):
    (loaded,) = engine_workers()
    loaded.kill()
    loaded.wait(10)
    result = opened.analyze(make_snapshot(), RESOURCE, WEEK)
    assert (len(result.recommendations), result.warnings) == (1, ())


def test_an_engine_that_was_never_used_leaves_no_process(opened):
    opened.close()
    assert engine_workers() == []
