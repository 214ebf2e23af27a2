"""False alarms and found regressions of canary verification, on simulated pods, beside two simpler tests.

    python benchmarks/verification.py --runs 2000 --regressions 200
    python benchmarks/verification.py --alone --minutes 60
    python benchmarks/verification.py --traces DIR

Each run simulates a day of ten pods with bursts, drift and stalls of single pods, then changes two of them
(`--canaries`): not at all (an alarm is false), or so that their requests take a quarter longer. Beside ours:

- mann-whitney: a test of the minutes since the change, p99 of canary against control, repeated every minute
  from the fifth on at 2 % (the comparison of Kayenta, looked at as canary analysis does);
- threshold: p99 of the canary above 1.2 times that of the day before in 3 minutes (Flagger counts checks).

With `--alone` there is one pod, at all the load, compared with the week before.
With `--traces`, measured traces of one replica take the place of simulated pods, compared before and after:
testbed_nezha.parquet (faults put into running services), testbed_petshop.parquet (days without any, and
windows of 15 minutes with one, fewer steps than a comparison needs) and testbed_sweep.parquet (CPU limits
changed). Beside the others stands an oracle: it is told how many steps after the change serve best over all
cases, and alarms where the mean p99 of these is above that of all but
1 % of the windows before. What it does not find, no test of that mean can find at that rate.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from pod_worlds import BOUNDS, PodWorld
from scipy.stats import mannwhitneyu
from trace_histories import TraceChange, changes

from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.before_after import look_before_after, prepare_before_after
from perfopt_api.apply.verification.canary import look, prepare
from perfopt_api.apply.verification.verdict import Verdict

_DAY = 1440
_DAYS_ALONE = 7
_FIRST, _LEVEL = 5, 0.02  # of the repeated Mann-Whitney tests
WORLDS = {"steady": PodWorld().quiet(), "bursty": PodWorld()}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What the tests said of one run: the minute of the alarm, or None; and what ours cost."""

    alarms: dict[str, int | None]
    passed: bool
    prepare_ms: float
    look_ms: float


def main() -> None:
    """Runs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="without a regression (default: 200)")
    parser.add_argument("--regressions", type=int, default=100, help="runs with one (default: 100)")
    parser.add_argument("--minutes", type=int, default=30, help="of observation (default: 30)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--canaries", type=int, default=2, help="pods of ten that are changed (default: 2)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first run, to run in parts")
    parser.add_argument("--alpha", type=float, default=0.01, help="false-alarm rate (default: 0.01)")
    parser.add_argument("--world", choices=WORLDS, action="append", help="one of them only (default: all)")
    parser.add_argument("--alone", action="store_true", help="one pod, before and after")
    parser.add_argument("--traces", type=Path, help="folder of measured traces, in place of simulated pods")
    options = parser.parse_args()
    if options.traces is not None:
        measured(options.traces, options.processes, options.alpha)
        return
    print(f"{'world':8} {'p99':>5} {'test':13} {'alarms':>8} {'of':>6} {'share':>7} {'minute':>7}")
    with ProcessPoolExecutor(options.processes) as pool:
        for world in options.world or WORLDS:
            for slower, runs in ((1.0, options.runs), (1.25, options.regressions)):
                simulated = alone_run if options.alone else partial(one_run, options.canaries)
                run = partial(simulated, world, slower, options.minutes, options.alpha)
                seeds = range(options.first, options.first + runs)
                outcomes = list(pool.map(run, seeds, chunksize=4))
                if not outcomes:
                    continue
                for line in _lines(world, slower, outcomes):
                    print(line, flush=True)


def one_run(canaries: int, world: str, slower: float, minutes: int, alpha: float, seed: int) -> RunOutcome:
    """Simulates one change and asks each test."""
    rng = np.random.default_rng(seed)
    simulated = WORLDS[world]
    factor = np.ones((simulated.pods, _DAY + minutes))
    factor[:canaries, _DAY:] = slower
    history = simulated.history(_DAY + minutes, rng, factor)
    past, since = history.between(0, _DAY), history.between(_DAY, _DAY + minutes)
    canary = history.pods[:canaries]
    started = time.process_time()
    test = prepare(past, canary, minutes, alpha=alpha)
    prepared = time.process_time()
    ours = look(test, since)
    looked = time.process_time()
    alarms = {name: ask(past, since, canaries) for name, ask in _OTHERS.items()}
    alarms["ours"] = ours.step + 1 if ours.verdict is Verdict.FAILED else None
    passed = ours.verdict is Verdict.PASSED
    return RunOutcome(alarms, passed, 1000 * (prepared - started), 1000 * (looked - prepared))


def alone_run(world: str, slower: float, minutes: int, alpha: float, seed: int) -> RunOutcome:
    """Simulates one change of a workload of one pod and asks each test."""
    week = _DAYS_ALONE * _DAY
    factor = np.ones((1, week + minutes))
    factor[:, week:] = slower
    simulated = replace(WORLDS[world], pods=1)
    history = simulated.history(week + minutes, np.random.default_rng(seed), factor)
    started = time.process_time()
    test = prepare_before_after(history.between(0, week), minutes, alpha=alpha)
    prepared = time.process_time()
    ours = look_before_after(test, history, week)
    looked = time.process_time()
    before, after = (
        _p99(history.between(*steps), slice(None)) for steps in ((week - _DAY, week), (week, week + minutes))
    )
    alarms = {
        "ours": ours.step + 1 if ours.verdict is Verdict.FAILED else None,
        "mann-whitney": _differ(before[-4 * minutes :], after),
        "threshold": _above(before, after),
    }
    passed = ours.verdict is Verdict.PASSED
    return RunOutcome(alarms, passed, 1000 * (prepared - started), 1000 * (looked - prepared))


def measured(folder: Path, processes: int, alpha: float) -> None:
    """Prints what each test says of the changes in measured traces."""
    with ProcessPoolExecutor(processes) as pool:
        results = list(pool.map(partial(one_change, alpha), changes(folder), chunksize=4))
    heads = f"{'perfopt':>8} {'passed':>7} {'mann-whitney':>13} {'threshold':>10} {'oracle':>7}"
    print(f"{'trace':8} {'change':8} {'of':>5} {heads}")
    for trace, harmful in dict.fromkeys((one.trace, one.harmful) for one in results):
        rows = [one for one in results if (one.trace, one.harmful) == (trace, harmful)]
        told = _best_window([one.oracle for one in results if one.trace == trace and one.harmful])
        ours = [sum(row.verdict is one for row in rows) for one in (Verdict.FAILED, Verdict.PASSED)]
        others = [sum(row.alarms[name] for row in rows) for name in _OTHERS]
        oracle = "-" if told is None else sum(any(row.oracle[told : told + 1]) for row in rows)
        kind = "harmful" if harmful else "none"
        numbers = f"{len(rows):5} {ours[0]:8} {ours[1]:7} {others[0]:13} {others[1]:10} {oracle:>7}"
        print(f"{trace:8} {kind:8} {numbers}")


@dataclass(frozen=True, slots=True)
class TraceOutcome:
    """What the tests say of a change in a measured trace.

    Attributes:
        trace, harmful: of the change.
        verdict: ours.
        alarms: of the others.
        oracle: by steps since the change, whether their mean p99 is above that of all but 1 % of the windows
            of as many steps before.
    """

    trace: str
    harmful: bool
    verdict: Verdict
    alarms: dict[str, bool]
    oracle: tuple[bool, ...]


def _best_window(cases: list[tuple[bool, ...]]) -> int | None:
    """Returns the number of steps, less one, over which an oracle finds most; None without a case."""
    return int(np.sum(cases, axis=0).argmax()) if cases else None


def _oracle(before: Array, after: Array, alpha: float) -> tuple[bool, ...]:
    effects = []
    for steps in range(1, after.size + 1):
        if steps > before.size:
            effects.append(False)
            continue
        windows = np.lib.stride_tricks.sliding_window_view(before, steps).mean(axis=1)
        effects.append(bool(after[:steps].mean() > np.nanquantile(windows, 1 - alpha)))
    return tuple(effects)


def one_change(alpha: float, change: TraceChange) -> TraceOutcome:
    """Returns what each test says of a measured change."""
    end = change.changed + change.horizon
    history = change.history.between(0, end)
    past = history.between(0, change.changed)
    test = prepare_before_after(past, change.horizon, alpha=alpha)
    before, after = change.p99[: change.changed], change.p99[change.changed : end]
    alarms = {
        "mann-whitney": _differ(before[-4 * change.horizon :], after) is not None,
        "threshold": _above(before, after) is not None,
    }
    verdict = look_before_after(test, history, change.changed).verdict
    oracle = _oracle(before, after, alpha)
    return TraceOutcome(change.trace, change.harmful, verdict, alarms, oracle)


def _lines(world: str, slower: float, outcomes: list[RunOutcome]) -> Iterator[str]:
    of = len(outcomes)
    for test in ("ours", *_OTHERS):
        minutes = [at for one in outcomes if (at := one.alarms[test]) is not None]
        when = f"{np.median(minutes):7.0f}" if minutes else f"{'-':>7}"
        yield (
            f"{world:8} {f'x{slower:g}':>5} {test:13} {len(minutes):8} {of:6} {len(minutes) / of:7.2%} {when}"
        )
    passed = np.mean([one.passed for one in outcomes])
    costs = [np.median([getattr(one, name) for one in outcomes]) for name in ("prepare_ms", "look_ms")]
    yield f"{'':14} passed {passed:.0%}; CPU: {costs[0]:.0f} ms before the change, {costs[1]:.1f} ms a look"


def _mann_whitney(past: PodHistory, since: PodHistory, canaries: int) -> int | None:
    canary, control = _p99(since, slice(0, canaries)), _p99(since, slice(canaries, None))
    for minute in range(_FIRST, canary.size + 1):
        if mannwhitneyu(canary[:minute], control[:minute], alternative="greater").pvalue < _LEVEL:
            return minute
    return None


def _differ(before: Array, after: Array) -> int | None:
    """The same of one replica: the steps since the change against those before it."""
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    for steps in range(_FIRST, after.size + 1) if before.size else ():
        if mannwhitneyu(after[:steps], before, alternative="greater").pvalue < _LEVEL:
            return steps
    return None


def _threshold(past: PodHistory, since: PodHistory, canaries: int) -> int | None:
    return _above(_p99(past, slice(0, canaries)), _p99(since, slice(0, canaries)))


def _above(before: Array, after: Array) -> int | None:
    over = np.cumsum(after > 1.2 * np.nanmedian(before))
    return int((over >= 3).argmax()) + 1 if over[-1] >= 3 else None


def _p99(history: PodHistory, pods: slice) -> Array:
    """Returns the p99 of some pods together at each step in seconds, as histogram_quantile() reads it."""
    assert history.requests is not None
    assert history.latency is not None
    total = history.requests[pods].sum(axis=0)
    within = history.latency.within[pods].sum(axis=0)
    bounds = np.append(0.0, BOUNDS)
    steps = zip(total, within, strict=True)
    return np.array([np.interp(0.99 * served, np.append(0.0, row), bounds) for served, row in steps])


_OTHERS: dict[str, Callable[[PodHistory, PodHistory, int], int | None]] = {
    "mann-whitney": _mann_whitney,
    "threshold": _threshold,
}

if __name__ == "__main__":
    main()
