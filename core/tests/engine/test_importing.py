"""The time of first imports is no time of an analysis, up to a bound."""

import sys

import pytest

from perfopt.engine.importing import BEGUN, ENDED, IMPORT_SECONDS, ImportNotices, PausedClock


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_deadline_moves_by_the_time_of_imports():
    clock = Clock()
    deadline = PausedClock(10.0, clock)
    clock.now = 4.0
    assert deadline.notice(BEGUN)
    clock.now = 12.0
    assert deadline.remaining == pytest.approx(6.0)
    assert deadline.notice(ENDED)
    clock.now = 13.0
    assert deadline.remaining == pytest.approx(5.0)
    assert not deadline.notice(b"an answer")


def test_an_import_that_hangs_is_late_all_the_same():
    clock = Clock()
    deadline = PausedClock(10.0, clock)
    for _ in range(3):
        deadline.notice(BEGUN)
        clock.now += IMPORT_SECONDS / 2
        deadline.notice(ENDED)
    assert deadline.remaining == pytest.approx(10.0 - IMPORT_SECONDS / 2)


def test_only_modules_that_are_new_are_noticed_and_only_while_an_answer_is_awaited(monkeypatch, tmp_path):
    (tmp_path / "field_new_module.py").write_text("import json\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.__import__", __import__)
    sent = []
    notices = ImportNotices(sent.append)
    notices.install()
    notices.watch(on=True)
    exec("import json, field_new_module", {})
    assert sent == [BEGUN, ENDED]
    del sys.modules["field_new_module"]
    notices.watch(on=False)
    exec("import field_new_module", {})
    assert len(sent) == 2
