"""The contract of forecasters. Each call runs in a process that can be killed."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from perfopt.engine.channel import MessageChannel
from perfopt.engine.child import ChildError, ChildProcess
from perfopt.engine.forecasters import forecaster_problem
from perfopt.engine.foreign import describe
from perfopt.metrics.snapshot import TimeGrid
from perfopt.plugin.forecasting import DEFAULT_LEVELS, CostClass, Forecaster, ForecastRequest
from perfopt.testing.contract import CheckResult, ContractViolation
from perfopt.testing.imports import private_imports
from perfopt.testing.snapshots import cases

FORECASTER_CHECKS = {
    "protocol": "has the attributes of a forecaster, in the form they need, and can be pickled",
    "public_imports": "imports only what is public of perfopt",
    "survives": "raises no exception, whatever the history: short, with gaps, constant, negative, ...",
    "deadline": "returns within the deadline of its cost class, and does not end its process",
    "result": "returns None, or finite quantiles of the shape that was asked for",
    "inputs": "does not alter its input",
    "deterministic": "returns the same for the same input",
}
DEADLINE_SECONDS = {CostClass.FAST: 2.0, CostClass.SLOW: 10.0}  # far above: the machine may be busy
HORIZONS = (timedelta(hours=1), timedelta(days=7))
_CHILD = "perfopt.testing.forecasters:main"
_MIN_SAMPLES = 24


class ForecastReport(msgspec.Struct, frozen=True, kw_only=True):
    """One call: what it raised, what is wrong with the answer, whether the input changed, and the answer."""

    raised: str | None = None
    problem: str | None = None
    mutated: bool = False
    answer: bytes = b""


def check_forecaster(forecaster: Any) -> list[ContractViolation]:
    """Runs a forecaster on many histories in a process of its own and returns the properties it lacks.

    Args:
        forecaster: an instance; it must come from a module that can be imported.
    """
    problem = forecaster_problem(forecaster)
    if problem is not None:
        return [ContractViolation("protocol", problem)]
    imports = private_imports(forecaster)
    violations = dict.fromkeys(ContractViolation("public_imports", text) for text in imports)
    return list(violations | dict.fromkeys(_tried(forecaster)))


def forecaster_results(forecaster: Any) -> tuple[CheckResult, ...]:
    """Runs the contract of forecasters; returns a result for each property of FORECASTER_CHECKS."""
    violations = check_forecaster(forecaster)
    failed = {violation.check for violation in violations}
    early = "protocol" in failed  # nothing else was tried
    return tuple(
        CheckResult(
            check,
            None if early and check not in failed else check not in failed,
            tuple(violation for violation in violations if violation.check == check),
        )
        for check in FORECASTER_CHECKS
    )


def requests() -> dict[str, ForecastRequest]:
    """Returns the histories that every forecaster must survive, each over an hour and over a week."""
    forecast_requests = {}
    for name, snapshot in cases().items():
        series = snapshot.series(min(snapshot.containers, default=""), "cpu_cores")
        values = np.empty(0) if series is None else series.hottest()
        known = values[np.isfinite(values)]
        if known.size < _MIN_SAMPLES:
            continue
        grid = snapshot.grid
        for horizon in HORIZONS:
            ahead = TimeGrid(grid.end, grid.step, max(horizon // grid.step, 1))
            plain = ForecastRequest(values, grid, ahead, DEFAULT_LEVELS, float(known.mean()))
            forecast_requests[f"{name}, {horizon}"] = plain
            forecast_requests[f"{name} below zero, {horizon}"] = replace(
                plain, values=-values, scale=-plain.scale
            )
    return forecast_requests


def _tried(forecaster: Forecaster) -> Iterator[ContractViolation]:
    child = ChildProcess(_CHILD)
    name = ""
    try:
        for name, request in requests().items():
            answers = []
            for _ in range(2):
                child.send(pickle.dumps((forecaster, request)))
                data = child.receive(DEADLINE_SECONDS[forecaster.cost])
                report = msgspec.msgpack.decode(data, type=ForecastReport)
                yield from _violations(report, name)
                answers.append(report.answer)
            if answers[0] != answers[1]:
                yield ContractViolation("deterministic", "it gave two results for the same input", name)
    except ChildError as error:
        yield ContractViolation("deadline", f"it {error}", name)
    finally:
        child.kill()


def _violations(report: ForecastReport, case: str) -> Iterator[ContractViolation]:
    if report.raised is not None:
        yield ContractViolation("survives", f"it {report.raised}", case)
    if report.problem is not None:
        yield ContractViolation("result", report.problem, case)
    if report.mutated:
        yield ContractViolation("inputs", "it altered its input", case)


def main() -> None:
    """Answers a pickled (forecaster, request) with a report, until the parent goes."""
    channel = MessageChannel()
    while True:
        forecaster, request = pickle.loads(channel.receive())  # noqa: S301  from the parent
        channel.send(msgspec.msgpack.encode(_report(forecaster, request)))


def _report(forecaster: Forecaster, request: ForecastRequest) -> ForecastReport:
    before = request.values.tobytes()
    try:
        prediction = forecaster.forecast(request)
    except BaseException as error:  # foreign code may raise anything
        return ForecastReport(raised=describe(error))
    mutated = request.values.tobytes() != before
    if prediction is None:
        return ForecastReport(mutated=mutated)
    shape = (len(request.levels), request.ahead.size)
    quantiles = np.asarray(prediction.quantiles)
    problem = None
    if quantiles.shape != shape or not np.isfinite(quantiles).all():
        problem = f"its quantiles are not {shape[0]} by {shape[1]} finite values"
    return ForecastReport(problem=problem, mutated=mutated, answer=quantiles.tobytes())
