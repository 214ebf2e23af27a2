"""The days of closed loops as a table: for notebooks, CSV and Parquet."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from perfopt.backtest.loop.day import ServiceDay

_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("service", "policy", "tier"), pa.string()),
    **dict.fromkeys(("cpu_safe", "memory_safe", "abstained", "in_sample"), pa.bool_()),
    **dict.fromkeys(("changes", "raises"), pa.int64()),
    "start": pa.timestamp("ms", tz="UTC"),
}


def days_to_arrow(days: Sequence[ServiceDay]) -> pa.Table:
    """Returns one row a service-day and policy, in their order; columns are the fields of ServiceDay."""
    columns: dict[str, pa.Array[Any]] = {
        field.name: pa.array(
            [getattr(day, field.name) for day in days], type=_TYPES.get(field.name, pa.float64())
        )
        for field in msgspec.structs.fields(ServiceDay)
    }
    return pa.table(columns)
