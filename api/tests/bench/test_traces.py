from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt_api.bench import fleet
from perfopt_api.bench.fleet import FleetFigures
from perfopt_api.bench.traces import write_services


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "services.parquet"
    write_services(path, 13)
    return path


def test_services_have_the_traces_of_real_ones_at_other_sizes(written):
    table = pq.read_table(written)
    counts = Counter(table["series_id"].to_pylist())
    assert sorted(counts) == [f"bench/service-{number:06d}" for number in range(13)]
    assert min(counts.values()) > 10_000
    peaks = [
        pc.max(table.filter((pc.field("series_id") == name) & (pc.field("metric") == "cpu_cores"))["value"])
        for name in sorted(counts)
    ]
    assert len({peak.as_py() for peak in peaks}) == 13


def test_limits_stay_constant_and_no_step_is_there_twice(written):
    one = pq.read_table(written).filter(pc.field("series_id") == "bench/service-000012")
    limits = one.filter(pc.field("metric") == "cpu_limit_cores")
    assert len(np.unique(limits["value"].to_numpy())) == 1
    cpu = one.filter(pc.field("metric") == "cpu_cores")["timestamp"].cast(pa.int64()).to_numpy()
    assert len(np.unique(cpu)) == len(cpu)


def test_the_same_seed_gives_the_same_services(written, tmp_path):
    write_services(tmp_path / "again.parquet", 13)
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(written))


def test_the_command_prints_a_line_for_each_number_of_workers(monkeypatch):
    def measured(services, workers, types, config, report):
        for count in workers:
            report(
                FleetFigures(
                    services=services,
                    workers=count,
                    analysed=services,
                    failed=0,
                    recommendations=3,
                    seconds=72.0,
                    services_per_hour=5000.0,
                    cpu_seconds=1.5,
                    peak_mib=400.0,
                    stored_bytes=20480.0,
                )
            )

    monkeypatch.setattr(fleet, "bench_fleet", measured)
    result = CliRunner().invoke(cli, ["bench", "fleet", "--services", "100", "--workers", "2"])
    assert result.exit_code == 0
    assert result.output == (
        "100 services, 2 workers: 72 s, 5,000 services an hour (10,000 in 2.0 h); 1.50 s of CPU and 20 KiB"
        " stored a service; 400 MiB a worker at most; 100 analysed, 0 failed, 3 recommendations\n"
    )
