"""How often LATENCY's moves and the steps of TUNING's search keep their word: their priors.

    python benchmarks/claim_priors.py --traces DIR [--seeds N]

LATENCY: on each varying run of testbed_sweep.parquet (5 s steps) the strategy is asked at cuts 25 s apart,
from all that came before (150 s at least), for objectives of 0.5 to 3 times the median P99 so far; each
recommendation is scored on the 100 s that follow, as a replay scores it (perfopt.evaluation.score). Those
of one service are neighbours, so the share is printed for each, and for each half of the services, in turns
by name. The load of these runs varies by design, so nothing can be claimed of the latency of a state that
stays: what is scored are limits that are raised, by whether demand fits under them.

TUNING: searches of a CPU limit on the testbed's curves (tuning_search.py, 2 % of noise). Of each step whose
95 % interval is within 25 %, so that it is claimed: whether what was measured under it lay in the interval
and within the objective. No trace has another knob at several values: values by formula keep the uniform
prior.

The prior is (1 + share x windows) / (2 + windows) on the first half: the uniform prior moved by what counts
as independent; for LATENCY the length of all scored windows without their overlaps over that of one, for
TUNING the curves. The second half shows how far it carries.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from latency_accuracy import columns
from tuning_cases import testbed_cases
from tuning_search import EVALUATIONS, FIRST_SEED, run

from perfopt.evaluation.score import score
from perfopt.plugin import Array, Container, Declined, Slo, WorkloadSnapshot, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_latency.strategy import LatencyStrategy

STEP = timedelta(seconds=5)
AHEAD, LEAST, STRIDE = 20, 30, 5
OBJECTIVES = (0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0)
OF_CONTAINER = ("cpu_cores", "cpu_limit_cores", "cpu_throttled_fraction", "memory_bytes")
OF_SERVICE = (
    "requests_per_second",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "latency_p99_ms",
)


@dataclass
class Tally:
    """What came of the recommendations of one service.

    Attributes:
        moved: those made that change something.
        windows: that count as independent of one another.
    """

    asked: int = 0
    made: int = 0
    moved: int = 0
    scored: int = 0
    accurate: int = 0
    windows: float = 0.0

    @property
    def prior(self) -> float:
        """What is believed after it of one that was believed uniformly before."""
        share = self.accurate / max(self.scored, 1)
        return (1 + share * self.windows) / (2 + self.windows)

    def line(self, name: str) -> str:
        """Returns a line of figures."""
        share = self.accurate / self.scored if self.scored else float("nan")
        return (
            f"  {name:12} asked {self.asked:5}  made {self.made:5} ({self.moved} moves)"
            f"  scored {self.scored:5}  kept {share:6.1%}"
            f"  windows {self.windows:4.1f}  prior {self.prior:.2f}"
        )


def joined(tallies: list[Tally]) -> Tally:
    """Adds tallies up."""
    total = Tally()
    for one in tallies:
        for part_of in fields(Tally):
            setattr(total, part_of.name, getattr(total, part_of.name) + getattr(one, part_of.name))
    return total


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    print("LATENCY, replayed on the varying runs")
    show({name: walk(data) for name, data in varying_runs(given.traces)})
    print("TUNING, claimed steps of searches of a CPU limit")
    show(searches(given.traces, given.seeds))


def show(tallies: dict[str, Tally]) -> None:
    """Prints each service, both halves and all."""
    for name, tally in tallies.items():
        print(tally.line(name))
    names = sorted(tallies)
    halves = {"first half": names[::2], "second half": names[1::2], "all": names}
    for half, those in halves.items():
        print(joined([tallies[name] for name in those]).line(half))


def varying_runs(traces: Path) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yields each service's varying run."""
    table = pq.read_table(traces / "testbed_sweep.parquet")
    for name in sorted(str(name) for name in pc.unique(table["series_id"].cast("string")).to_pylist()):
        if name.endswith("/varying"):
            yield name.split("/")[1], columns(table, name)


def walk(data: dict[str, Array]) -> Tally:
    """Asks at each cut and scores what is said."""
    tally, size = Tally(), data["cpu_cores"].size
    covered = np.zeros(size, dtype=bool)
    for cut in range(LEAST, size - AHEAD + 1, STRIDE):
        median = float(np.nanmedian(data["latency_p99_ms"][:cut]))
        for times in OBJECTIVES:
            scored = tally.scored
            ask(tally, data, cut, Slo(latency_ms=times * median))
            covered[cut : cut + AHEAD] |= tally.scored > scored
    tally.windows = float(covered.sum()) / AHEAD
    return tally


def ask(tally: Tally, data: dict[str, Array], cut: int, slo: Slo) -> None:
    """Asks once."""
    made = LatencyStrategy().propose(make_context(part(data, 0, cut, slo), AHEAD * STEP))
    tally.asked += 1
    if isinstance(made, Declined):
        return
    found = score(made, part(data, cut, cut + AHEAD, slo))
    tally.made += 1
    tally.moved += not made.already_right
    tally.scored += found.scored
    tally.accurate += bool(found.scored and found.accurate)


def part(data: dict[str, Array], begin: int, end: int, slo: Slo) -> WorkloadSnapshot:
    """Returns a part of a run as the snapshot of a service with an objective."""
    limit = float(data["cpu_limit_cores"][0])
    made = make_snapshot(
        {"main": {name: data[name][begin:end] for name in OF_CONTAINER if name in data}},
        service={name: data[name][begin:end] for name in OF_SERVICE},
        state=WorkloadState(containers=(Container(name="main", cpu_limit_cores=limit),), replicas=1),
        step=STEP,
    )
    return replace(made, workload=msgspec.structs.replace(made.workload, slo=slo))


def searches(traces: Path, seeds: int) -> dict[str, Tally]:
    """Returns what came of the claimed steps of searches, by service."""
    tallies: dict[str, Tally] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for case in testbed_cases(traces, seed):
            tally, one = tallies.setdefault(case.name.split(",")[0], Tally()), run(case, seed)
            tally.asked += EVALUATIONS - 1
            tally.made += len(one.kept)
            tally.moved += len(one.kept)
            tally.scored += len(one.kept)
            tally.accurate += sum(one.kept)
            tally.windows += 1 / seeds
    return tallies


if __name__ == "__main__":
    main()
