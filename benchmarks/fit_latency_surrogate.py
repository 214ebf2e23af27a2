"""Fits the latency surrogate that the package ships: simulates services under CPU quota, then fits a network.

python benchmarks/fit_latency_surrogate.py --to FILE.npz [--services N] [--processes P]

Needs a C compiler (cc) for latency_queue.c. With the 320,000 services of the shipped file it takes about ten
minutes on two cores. One service in ten is kept out of the fit; the printed errors are on those.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPRegressor

from perfopt.capacity.law import Load, Service, closed_forms
from perfopt.metrics.snapshot import Array

SOURCE = Path(__file__).parent / "latency_queue.c"
INPUTS, OUTPUTS = 11, 7
FIRST_SEED = 21
MIN_REQUESTS, LONGEST_SECONDS, BUSIEST = 15, 8.0, 0.995
# The mean of log|error| is that much below the logarithm of the standard deviation, for normal errors.
LOG_ABSOLUTE = 0.635


def draw(count: int, rng: np.random.Generator) -> Array:
    """Returns services and loads to simulate, shape (count, INPUTS), as latency_queue.c reads them."""

    def between(low: float, high: float) -> Array:
        return np.exp(rng.uniform(np.log(low), np.log(high), count))

    cores = rng.choice([1, 1, 2, 4, 8], count).astype(float)
    limit = np.minimum(between(0.08, 3.0), cores * rng.uniform(0.5, 1.0, count))
    cpu = between(3e-4, 0.08)
    two_kinds = rng.random(count) < 0.45
    share = np.where(two_kinds, rng.uniform(0.02, 0.3, count), 0)
    ratio = np.where(two_kinds, between(2, 16), 1.0)
    spread = np.where(two_kinds, rng.uniform(0.02, 0.5, count), rng.uniform(0.02, 1.8, count))
    waits = rng.random(count) < 0.65
    wait = np.where(waits, between(2e-3, 0.4), 0)
    wait_spread = np.where(waits, rng.uniform(0.05, 0.9, count), 0)
    threads = rng.choice([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64], count).astype(float)
    rate = rng.uniform(0.02, 1.0, count) * limit / cpu
    held = rate * (wait + cpu / np.minimum(limit, 1)) / threads
    rate = np.where(held > 1.0, rate * rng.uniform(0.05, 1.0, count) / held, rate)
    window = np.clip(np.minimum(between(5, 120), 6000 / rate), 2.0, None)
    window = np.maximum(window, np.minimum(20 / rate, 120))
    return np.c_[rate, cpu, share, ratio, spread, wait, wait_spread, limit, cores, threads, window]


def simulate(library: str, count: int, seed: int) -> tuple[Array, Array]:
    """Simulates services; returns what went in and what came out."""
    inputs = np.ascontiguousarray(draw(count, np.random.default_rng(seed)))
    outputs = np.zeros((count, OUTPUTS))
    pointer = ctypes.POINTER(ctypes.c_double)
    ctypes.CDLL(library).simulate(
        count, inputs.ctypes.data_as(pointer), outputs.ctypes.data_as(pointer), ctypes.c_uint64(seed)
    )
    return inputs, outputs


def simulate_all(services: int, processes: int) -> tuple[Array, Array]:
    """Simulates in several processes, each with its own seed."""
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "queue.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-lm"], check=True)
        each = services // processes
        with ProcessPoolExecutor(processes) as pool:
            seeds = range(FIRST_SEED, FIRST_SEED + processes)
            parts = list(pool.map(simulate, [library] * processes, [each] * processes, seeds))
    return np.concatenate([given for given, _ in parts]), np.concatenate([out for _, out in parts])


def examples(inputs: Array, outputs: Array) -> tuple[Array, Array]:
    """Returns the surrogate's inputs and targets, for the realised rate and CPU of each window."""
    completed, used, p99 = outputs[:, 0], outputs[:, 1], outputs[:, 6]
    good = (
        (completed >= MIN_REQUESTS) & (p99 < LONGEST_SECONDS) & (used > 0) & (used < BUSIEST * inputs[:, 7])
    )
    given, out = inputs[good], outputs[good]
    rate = out[:, 0] / given[:, 10]
    load = Load(rate, out[:, 1], given[:, 7], given[:, 10])
    service = Service(
        given[:, 2], given[:, 3], given[:, 4], given[:, 5], given[:, 6], given[:, 8], given[:, 9]
    )
    base = out[:, 1] / rate + given[:, 5]
    return closed_forms(service, load), np.c_[np.log(out[:, 3:7] / base[:, None]), 2 * out[:, 2]]


def network(sizes: tuple[int, ...], given: Array, wanted: Array, rounds: int) -> MLPRegressor:
    """Fits a network: most rounds at a high rate of learning, a fifth more at a tenth of it."""
    found = MLPRegressor(
        hidden_layer_sizes=sizes, alpha=1e-5, batch_size=1024, learning_rate_init=2e-3, max_iter=rounds,
        random_state=0, tol=0, n_iter_no_change=999,
    )  # fmt: skip
    found.fit(given, wanted)
    found.set_params(learning_rate_init=2e-4, warm_start=True, max_iter=rounds // 5)
    return found.fit(given, wanted)


def arrays_of(name: str, found: MLPRegressor, offset: Array) -> dict[str, Array]:
    """Returns the weights of a network as the surrogate reads them, with an offset added to its outputs."""
    biases = [*found.intercepts_[:-1], found.intercepts_[-1] + offset]
    weights = {f"{name}_weights_{i}": w.astype(np.float32) for i, w in enumerate(found.coefs_)}
    return weights | {f"{name}_bias_{i}": b.astype(np.float32) for i, b in enumerate(biases)}


def fit(given: Array, wanted: Array) -> dict[str, Array]:
    """Fits both networks, prints their errors on what was kept out, and returns the file's arrays."""
    kept_out = np.arange(len(given)) % 10 == 0
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    scaled, centre = (given - mean) / deviation, wanted.mean(axis=0)
    quantiles = network((64, 48), scaled[~kept_out], wanted[~kept_out] - centre, 60)
    misses = quantiles.predict(scaled) + centre - wanted
    logs = np.log(np.abs(misses) + 0.002)
    typical = logs[kept_out].mean(axis=0)
    spread = network((24,), scaled[~kept_out], logs[~kept_out] - logs[~kept_out].mean(axis=0), 12)
    print(
        "median |log error| of p50 p90 p95 p99, throttled:",
        np.median(np.abs(misses[kept_out]), axis=0).round(3),
    )
    return {
        "mean": mean.astype(np.float32),
        "deviation": deviation.astype(np.float32),
        **arrays_of("layer", quantiles, centre),
        **arrays_of("spread", spread, typical + LOG_ABSOLUTE),
    }


def main() -> None:
    """Simulates, fits and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--services", type=int, default=320_000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(f"simulating {given.services} services", file=sys.stderr)
    arrays = fit(*examples(*simulate_all(given.services, given.processes)))
    np.savez(given.to, **arrays)


if __name__ == "__main__":
    main()
