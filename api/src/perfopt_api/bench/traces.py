"""Traces of as many services as are wanted, from those of a few real ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perfopt_api.demo.samples import DATA

TRACES = DATA / "bitbrains.parquet"
_SCALE_SPREAD = 0.7  # of the logarithm: sizes of services differ by some ten times
_NOISE = 0.03
_ROUNDED = {"cpu_limit_cores", "memory_limit_bytes"}
_DAY_MS = 86_400_000


def write_services(path: Path, count: int, seed: int = 0) -> None:
    """Writes traces of services: real ones, each scaled, shifted by whole days, and with some noise.

    Args:
        path: of the Parquet file; rows are sorted by service.
        count: of services.
        seed: of what differs.
    """
    table = pq.read_table(TRACES)
    names = [str(name) for name in pc.unique(table["series_id"].cast(pa.string())).to_pylist()]
    real = [
        table.filter(pc.equal(table["series_id"].cast(pa.string()), pa.scalar(name))).drop_columns(
            "series_id"
        )
        for name in names
    ]
    rng = np.random.default_rng(seed)
    schema = pa.schema([("series_id", pa.string()), *table.drop_columns("series_id").schema])
    with pq.ParquetWriter(path, schema) as writer:
        for number in range(count):
            rows = _varied(real[number % len(real)], rng)
            series = pa.array([f"bench/service-{number:06d}"] * rows.num_rows, pa.string())
            writer.write_table(rows.add_column(0, "series_id", series).cast(schema))


def _varied(rows: pa.Table, rng: np.random.Generator) -> pa.Table:
    scale = float(np.exp(rng.normal(0.0, _SCALE_SPREAD)))
    limits = np.isin(np.asarray(rows["metric"].cast(pa.string())), list(_ROUNDED))
    values = rows["value"].to_numpy() * scale
    values = np.where(limits, values, values * np.exp(rng.normal(0.0, _NOISE, len(values))))
    times = rows["timestamp"].cast(pa.int64()).to_numpy()
    first = times.min() // _DAY_MS * _DAY_MS
    length = (times.max() // _DAY_MS + 1) * _DAY_MS - first
    moved = first + (times - first + int(rng.integers(0, 7)) * _DAY_MS) % length
    kind = rows.schema.field("timestamp").type
    columns = {
        "timestamp": pa.array(moved, pa.int64()).cast(kind),
        "metric": rows["metric"],
        "value": pa.array(values.astype(np.float32)),
    }
    return pa.table(columns)
