"""Wall time, CPU and memory of `perfopt analyze --all` over a whole file.

python benchmarks/fleet.py --source FILE --until T
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

PERFOPT = Path(sys.executable).parent / "perfopt"
TICK_SECONDS = 0.1


def resident_mib(root: psutil.Process) -> float:
    """Returns the memory of a process and its descendants; of a shared page each counts its part."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


def main() -> None:
    """Runs the command and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--until", required=True)
    given = parser.parse_args()
    command = [PERFOPT, "analyze", "--source", given.source, "--all", "--until", given.until]
    options = ["--period", "14d", "--types", "RESOURCE_OPTIMIZATION", "--format", "ndjson"]
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.DEVNULL)
        peak, process = 0.0, psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, resident_mib(process))
            time.sleep(TICK_SECONDS)
        output.seek(0)
        lines = sum(1 for _ in output)
    seconds = time.monotonic() - began
    print(
        f"analyze --all, {Path(given.source).name}: {lines} lines, {seconds:.1f} s wall,"
        f" {peak:.0f} MiB peak resident in all processes, exit code {child.returncode}"
    )


if __name__ == "__main__":
    main()
