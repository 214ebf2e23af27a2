"""What the sizes of a fleet cost and how safe they are, beside leaving all requests as they are.

python benchmarks/fleet_requests.py --source bitbrains_rnd.parquet [--split report] [--model FILE]

A simulated Kubernetes fleet: each container has the use of a series of the file, scaled to a small service,
and requests as a team may have set them from it: over or under what was needed, rounded. Recommended are
sizes from 14 days of history; they are scored on the 7 days after it, as `perfopt backtest` does. Without
--model the shipped one is used, which learnt from Bitbrains: its figures there are in-sample.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.resources import score_resources
from perfopt.evaluation.split import split_of
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin import DEFAULT_PRICE_BOOK, Declined
from perfopt.testing import make_context, make_snapshot
from perfopt_resource.model.sizing_model import SizingModel, shipped_model
from perfopt_resource.strategy import recommend

HISTORY, WINDOW = 14 * 288, 7 * 288
ROUND = np.array([1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0])
MIB = 2**20


@dataclass(frozen=True, slots=True)
class FleetContainer:
    """One container: its history with the requests in force, the week after it, and what both are."""

    history: WorkloadSnapshot
    window: WorkloadSnapshot
    state: WorkloadState


def main() -> None:
    """Prints cost and safety of the fleet by policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--split", choices=("tune", "report"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--every", type=int, default=1, help="Take every so many series.")
    given = parser.parse_args()
    model = shipped_model() if given.model is None else SizingModel.load(given.model)
    fleet = list(containers(given.source, given.split, given.every))
    policies = {
        "as they are": [one.state for one in fleet],
        "perfopt": [recommended(one, model) for one in fleet],
        "P99 x 3, peak x 2": [by_quantile(one, 3.0, 2.0) for one in fleet],
        "P99 x 1.5, peak x 1.3": [by_quantile(one, 1.5, 1.3) for one in fleet],
    }
    base = [cost(one.state) for one in fleet]
    print(f"{len(fleet)} containers")
    print(f"{'requests':24} {'cost':>6} {'safe':>7} {'dearer':>7} {'cheaper':>8} {'unchanged':>10}")
    for name, states in policies.items():
        paid = [cost(state) for state in states]
        safe = [score_resources(state, one.window).accurate for state, one in zip(states, fleet, strict=True)]
        pairs = list(zip(paid, base, strict=True))
        moved = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs), sum(a == b for a, b in pairs)
        share = sum(paid) / sum(base)
        print(f"{name:24} {share:6.1%} {np.mean(safe):7.1%} {moved[0]:7} {moved[1]:8} {moved[2]:10}")


def cost(state: WorkloadState) -> float:
    """Returns what the requests of a state cost a month."""
    return DEFAULT_PRICE_BOOK.monthly_cost(state) or 0.0


def recommended(one: FleetContainer, model: SizingModel) -> WorkloadState:
    """Returns what the resource strategy recommends; where it abstains, nothing changes."""
    proposed = recommend(make_context(one.history), model)
    return one.state if isinstance(proposed, Declined) else proposed.target


def by_quantile(one: FleetContainer, cpu: float, memory: float) -> WorkloadState:
    """Returns multiples of the P99 of CPU and of the peak of memory."""
    used, held = (one.history.series("main", name) for name in ("cpu_cores", "memory_bytes"))
    assert used is not None
    assert held is not None
    return WorkloadState(
        containers=(
            Container(
                name="main",
                cpu_request_cores=cpu * float(np.nanquantile(used.values, 0.99)),
                memory_request_bytes=int(memory * np.nanmax(held.values)),
            ),
        ),
        replicas=1,
    )


def containers(path: Path, split: str | None, every: int) -> Iterator[FleetContainer]:
    """Yields a container for each series and each of two cutoffs at which it has enough samples."""
    rng = np.random.default_rng(0)
    for cpu, memory in series(path, split, every):
        for cutoff in (HISTORY, HISTORY + 5 * WINDOW):
            one, other = (values[cutoff - HISTORY : cutoff + WINDOW] for values in (cpu, memory))
            if min(np.isfinite(part).mean() for part in (one, other)) > 0.9 and np.nanmax(one) > 0:
                yield container(one, other, rng)


def container(cpu: Array, memory: Array, rng: np.random.Generator) -> FleetContainer:
    """Returns a small service with this shape of use, and requests that a team may have set."""
    needed = np.nanquantile(cpu[:HISTORY], 0.99), np.nanmax(memory[:HISTORY])
    level = rng.lognormal(np.log(0.15), 1.0), rng.lognormal(np.log(300 * MIB), 0.8)
    cpu, memory = cpu * level[0] / max(needed[0], 1e-6), memory * level[1] / max(needed[1], 1.0)
    request = rounded(level[0] * rng.lognormal(np.log(2.6), 0.4))
    held = rounded(level[1] / MIB * rng.lognormal(np.log(2.0), 0.3)) * MIB
    main = Container(
        name="main",
        cpu_request_cores=request,
        memory_request_bytes=int(held),
        memory_limit_bytes=int(held * rng.choice([1.0, 1.5, 2.0])),
    )
    state = WorkloadState(containers=(main,), replicas=1)
    metrics = {"main": {"cpu_cores": cpu, "memory_bytes": memory}}
    whole = make_snapshot(metrics, state=state)
    return FleetContainer(whole.slice(0, HISTORY), whole.slice(HISTORY, HISTORY + WINDOW), state)


def rounded(value: float) -> float:
    """Returns a value rounded up as people do: 1, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(min(x for x in (*(ROUND * power), 10 * power) if x >= value))


def series(path: Path, split: str | None, every: int) -> Iterator[tuple[Array, Array]]:
    """Yields CPU and memory of each series, on steps of 5 minutes."""
    table = pq.read_table(path, columns=["series_id", "metric", "timestamp", "value"]).to_pandas()
    table["step"] = table["timestamp"].astype("datetime64[s, UTC]").astype("int64") // 300
    kept = [name for name in sorted(table["series_id"].unique()) if split in (None, split_of(str(name)))]
    for name in kept[::every]:
        rows = table[table["series_id"] == name]
        first, last = rows["step"].min(), rows["step"].max()
        whole = []
        for metric in ("cpu_cores", "memory_bytes"):
            values = np.full(last - first + 1, np.nan)
            of = rows[rows["metric"] == metric]
            values[of["step"] - first] = of["value"]
            whole.append(values)
        yield whole[0], whole[1]


if __name__ == "__main__":
    main()
