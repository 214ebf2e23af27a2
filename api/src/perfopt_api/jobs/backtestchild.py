"""Runs one backtest in a process of its own, which can be killed: `perfopt backtest` on a request."""

import asyncio
import contextlib
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perfopt.cli.backtest.command import evaluate
from perfopt.cli.backtest.selection import BacktestOptions
from perfopt.config import Config
from perfopt.errors import PerfoptError
from perfopt_api.store.backtests import BacktestRequest
from perfopt_api.store.port import JobError

RESULT, REPORT, ERROR = "result.json", "report.html", "error.json"
_NICE = 10  # requests of people come first


class BacktestTask(NamedTuple):
    """What the process is given, pickled, on standard input.

    Attributes:
        folder: of the files that it writes: RESULT and REPORT, or ERROR.
    """

    request: BacktestRequest
    config: Config
    folder: str


def run(task: BacktestTask) -> None:
    """Evaluates, and writes what came of it."""
    folder, request = Path(task.folder), task.request
    options = BacktestOptions(
        names=(),
        match=request.match,
        exclude=None,
        split=None,
        begin=None,
        until=None,
        history=request.history,
        validity=request.validity,
        origins=request.origins,
        types=request.types or _all_types(),
        policies=request.policies,
        plugins=(),
    )
    try:
        work = _work(options, task, folder / REPORT)
        with (folder / RESULT).open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
            asyncio.run(work)
    except PerfoptError as error:
        failed = JobError(code=error.code, message=error.message, remedy=error.remedy)
        (folder / ERROR).write_bytes(msgspec.json.encode(failed))


def _work(options: BacktestOptions, task: BacktestTask, report: Path) -> Any:
    """Returns what evaluates, as `perfopt backtest` does, or with --closed-loop."""
    source, config = task.request.source, task.config
    if not task.request.closed_loop:
        return evaluate(options, source, None, config, "json", report, None)
    from perfopt.cli.backtest.closed_loop import for_loop

    daily = replace(options, validity=options.validity or "1d", origins=None, every="1d")
    names = options.policies
    return evaluate(for_loop(daily), source, None, config, "json", report, None, names)


def _all_types() -> Any:
    from perfopt.cli.options import parse_types

    return parse_types(())


if __name__ == "__main__":
    os.nice(_NICE)
    run(pickle.load(sys.stdin.buffer))  # noqa: S301  from our own parent
