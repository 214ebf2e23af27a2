"""Simulates services under a CPU quota, request by request, in C (queue.c)."""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np

from perfopt.errors import PerfoptError
from perfopt.metrics.snapshot import Array
from perfopt.plugin.array_file import read_arrays, write_arrays
from perfopt.plugin.models import compute

INPUTS, OUTPUTS = 11, 7
FIRST_SEED = 21
_THREADS = 2  # C runs outside the lock of Python
PART = 5000  # services simulated with one seed, whatever the number of threads


def draw(count: int, rng: np.random.Generator) -> Array:
    """Returns services and loads to simulate, shape (count, INPUTS), as queue.c reads them."""

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
    drawn: Array = np.c_[rate, cpu, share, ratio, spread, wait, wait_spread, limit, cores, threads, window]
    return drawn


def simulate(
    services: int,
    progress: Callable[[int], object] = lambda _: None,
    once: Callable[[str, Callable[[], bytes]], bytes] = compute,
) -> tuple[Array, Array]:
    """Simulates services drawn at random, each PART of them with a seed of its own.

    Args:
        services: how many.
        progress: takes how many are done, after each part.
        once: see TrainingRequest.

    Returns:
        What went in, shape (services, INPUTS), and what came out, shape (services, OUTPUTS): requests
        completed, CPU used, share of throttled periods, latency at p50, p90, p95 and p99 in seconds.

    Raises:
        PerfoptError: there is no C compiler.
    """
    counts = [min(PART, services - first) for first in range(0, services, PART)]
    parts: list[tuple[Array, Array]] = []
    with tempfile.TemporaryDirectory() as folder:
        library = compiled_queue(Path(folder))
        with ThreadPoolExecutor(_THREADS) as pool:
            seeds = range(FIRST_SEED, FIRST_SEED + len(counts))
            for content in pool.map(partial(_part, library, once), counts, seeds):
                arrays = read_arrays(content)
                parts.append((arrays["inputs"], arrays["outputs"]))
                progress(sum(len(given) for given, _ in parts))
    return np.concatenate([given for given, _ in parts]), np.concatenate([out for _, out in parts])


def compiled_queue(folder: Path) -> ctypes.CDLL:
    """Returns queue.c, compiled into a folder: `simulate(count, inputs, outputs, seed)`.

    Raises:
        PerfoptError: there is no C compiler.
    """
    library = str(folder / "queue.so")
    with resources.as_file(resources.files(__package__) / "queue.c") as source:
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", library, str(source), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  the user's own compiler
        except (OSError, subprocess.CalledProcessError) as error:
            raise PerfoptError(
                "The simulation of services can't be compiled.", remedy="Install a C compiler (cc)."
            ) from error
    return ctypes.CDLL(library)


def _part(
    library: ctypes.CDLL, once: Callable[[str, Callable[[], bytes]], bytes], count: int, seed: int
) -> bytes:
    """Returns what went in and came out of some services, as a file of arrays."""

    def simulated() -> bytes:
        inputs = np.ascontiguousarray(draw(count, np.random.default_rng(seed)))
        outputs = np.zeros((count, OUTPUTS))
        pointer = ctypes.POINTER(ctypes.c_double)
        library.simulate(
            count, inputs.ctypes.data_as(pointer), outputs.ctypes.data_as(pointer), ctypes.c_uint64(seed)
        )
        return write_arrays({"inputs": inputs, "outputs": outputs}, {"seed": seed})

    return once(f"simulated-{seed}-{count}", simulated)
