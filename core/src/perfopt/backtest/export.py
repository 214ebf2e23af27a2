"""The evaluated recommendations of a backtest as a table: for notebooks, CSV and Parquet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perfopt.backtest.evaluated import EvaluatedRecommendation

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (
    "service", "service_class", "made_at", "policy", "optimization_type", "outcome", "code", "reason",
    "confidence", "own_hit_rate", "no_change", "in_sample", "claim_met", "expected_saving",
    "short_history", "assumed", "level",
)  # fmt: skip
_USE = ("safe", "recommended", "needed", "used")
_AMOUNT = ("current", "recommended", "minimum")
_GROUPS = {
    "cpu": (_USE, {"safe": pa.bool_()}),
    "memory": (_USE, {"safe": pa.bool_()}),
    "cost": (_AMOUNT, {}),
    "memory_amount": (_AMOUNT, {}),
}
_TYPES: dict[str, pa.DataType] = {
    "made_at": pa.timestamp("ms", tz="UTC"),
    **dict.fromkeys(("no_change", "in_sample", "claim_met", "short_history", "assumed"), pa.bool_()),
    **dict.fromkeys(("confidence", "own_hit_rate", "expected_saving", "level"), pa.float64()),
}


def to_arrow(rows: Sequence[EvaluatedRecommendation]) -> pa.Table:
    """Returns one row a recommendation, in their order.

    Columns are the fields of EvaluatedRecommendation; those of a resource or an amount are spread, such as
    `cpu_recommended` (cores) and `cost_minimum` (a month). The merged plan has the type "PLAN".
    """
    columns: dict[str, pa.Array[Any]] = {}
    for name in _PLAIN:
        values: list[Any] = [getattr(row, name) for row in rows]
        if name == "optimization_type":
            values = ["PLAN" if value is None else value.value for value in values]
        columns[name] = pa.array(values, type=_TYPES.get(name, pa.string()))
    for name, (fields, types) in _GROUPS.items():
        parts = [getattr(row, name) for row in rows]
        for field in fields:
            values = [None if part is None else getattr(part, field) for part in parts]
            columns[f"{name}_{field}"] = pa.array(values, type=types.get(field, pa.float64()))
    return pa.table(columns)


def to_frame(rows: Sequence[EvaluatedRecommendation]) -> "pd.DataFrame":
    """Returns the same as a pandas DataFrame; pandas comes with the extra `perfopt[frames]`.

    Raises:
        ImportError: pandas is not installed.
    """
    return to_arrow(rows).to_pandas()
