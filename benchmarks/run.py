"""All benchmarks, one line of figures each: what `make bench` calls.

    python benchmarks/run.py [--traces DIR]

On the bundled samples; with a folder of the full traces also those on the whole fleet. The Prometheus one
needs Debian's prometheus and holds 200 workloads.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "api/src/perfopt_api/demo/data/bitbrains.parquet"
FLEET_UNTIL = "2013-08-26T00:00:00Z"
WORKLOADS = 200


def run(script: str, *arguments: object) -> None:
    """Runs one benchmark; its figures go to our output."""
    command = [sys.executable, str(HERE / script), *(str(argument) for argument in arguments)]
    subprocess.run(command, check=True)


def from_prometheus() -> None:
    """Measures the service on a real Prometheus that holds 200 workloads."""
    sys.path.insert(0, str(HERE.parent / "tests/support"))
    from prometheus_server import prometheus_is_installed
    from sample_cluster import sample_cluster

    if not prometheus_is_installed():
        print("left out: the service on a Prometheus (apt-get install prometheus)")
        return
    with tempfile.TemporaryDirectory() as folder, sample_cluster(Path(folder), WORKLOADS, 300) as url:
        run("service.py", "--prometheus", url, "--scrape-interval", 300)


def main() -> None:
    """Runs them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--traces", type=Path, help="folder of the full traces")
    traces = parser.parse_args().traces
    run("engine.py", "--source", traces / "bitbrains_rnd.parquet" if traces else SAMPLES)
    fleet = traces / "bitbrains_rnd.parquet" if traces else SAMPLES
    run("fleet.py", "--source", fleet, "--until", FLEET_UNTIL)
    run("service.py")
    from_prometheus()


if __name__ == "__main__":
    main()
