"""Cuts the samples that `perfopt demo` analyses out of a folder of the full traces.

    python benchmarks/make_samples.py --traces DIR

The VMs are chosen by their use alone (evenly over the ranks of mean CPU among those with at
least 95 % of samples, of the half that no constant was fitted on), never by how well perfopt does on them.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from walk_traces import split_of

DATA = Path(__file__).parent.parent / "api/src/perfopt_api/demo/data"
BITBRAINS_END = datetime(2013, 8, 26, tzinfo=UTC)
BITBRAINS_LENGTH = timedelta(days=28)
BITBRAINS_COUNT = 6
NAB = [
    "nab/ec2-cpu-utilization-5f5533",
    "nab/ec2-cpu-utilization-fe7f93",
]
NAB_GROUP = "nab/cpu-utilization-asg-misconfiguration"
NAB_GROUP_BEGIN = datetime(2014, 6, 17, tzinfo=UTC)  # its last four weeks
NEZHA = [
    f"nezha/online-boutique/2022-08-22/{service}"
    for service in ("frontend", "cartservice", "checkoutservice", "currencyservice")
]
NEZHA_METRICS = [
    "cpu_cores", "memory_bytes", "cpu_limit_cores", "memory_limit_bytes", "requests_per_second",
    "latency_p90_ms", "latency_p95_ms", "latency_p99_ms",
]  # fmt: skip


def bitbrains(traces: Path) -> pa.Table:
    """Returns four weeks of six VMs, with the limits that held when the weeks began."""
    start = BITBRAINS_END - BITBRAINS_LENGTH
    table = ds.dataset(traces / "bitbrains_rnd.parquet").to_table(
        filter=ds.field("timestamp") < BITBRAINS_END
    )
    limit = pc.match_substring(table["metric"].cast(pa.string()), "limit")
    inside = pc.greater_equal(table["timestamp"], pa.scalar(start, table["timestamp"].type))
    used = table.filter(pc.and_(inside, pc.equal(table["metric"].cast(pa.string()), pa.scalar("cpu_cores"))))
    stats = used.group_by("series_id").aggregate([("value", "mean"), ("value", "count")])
    full = stats.filter(
        pc.greater_equal(stats["value_count"], pa.scalar(int(0.95 * BITBRAINS_LENGTH / timedelta(minutes=5))))
    )
    ranked = full.sort_by([("value_mean", "ascending")])["series_id"].to_pylist()
    names = [name for name in ranked if name is not None and split_of(name) == "report"]
    picked = [names[int(rank)] for rank in np.linspace(len(names) * 0.15, len(names) * 0.95, BITBRAINS_COUNT)]
    ours = pc.is_in(table["series_id"].cast(pa.string()), pa.array(picked))
    return table.filter(pc.and_(ours, pc.or_(inside, limit)))


def nab_group(traces: Path) -> pa.Table:
    """Returns the last four weeks of an auto-scaling group."""
    group = select(traces / "nab_aws.parquet", [NAB_GROUP])
    begin = pa.scalar(NAB_GROUP_BEGIN, group["timestamp"].type)
    return group.filter(pc.greater_equal(group["timestamp"], begin))


def select(path: Path, series: list[str], metrics: list[str] | None = None) -> pa.Table:
    """Returns the rows of some series, all metrics unless named."""
    chosen = ds.field("series_id").isin(series)
    return ds.dataset(path).to_table(filter=chosen & ds.field("metric").isin(metrics) if metrics else chosen)


def write(table: pa.Table, path: Path) -> None:
    """Writes rows in the schema and order of the full traces."""
    plain = table.set_column(0, "series_id", table["series_id"].cast(pa.string()))
    plain = plain.set_column(2, "metric", table["metric"].cast(pa.string()))
    rows = plain.sort_by([("series_id", "ascending"), ("metric", "ascending"), ("timestamp", "ascending")])
    for column in ("series_id", "metric"):
        rows = rows.set_column(rows.schema.get_field_index(column), column, rows[column].dictionary_encode())
    pq.write_table(rows, path, compression="zstd")


def main() -> None:
    """Writes the four sample files and prints their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the full traces")
    traces = parser.parse_args().traces
    tables = {
        "bitbrains": bitbrains(traces),
        "nab": select(traces / "nab_aws.parquet", NAB),
        "nab_group": nab_group(traces),
        "nezha": select(traces / "testbed_nezha.parquet", NEZHA, NEZHA_METRICS),
    }
    DATA.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write(table, DATA / f"{name}.parquet")
        print(f"{name}.parquet: {table.num_rows} rows, {(DATA / f'{name}.parquet').stat().st_size} bytes")


if __name__ == "__main__":
    main()
