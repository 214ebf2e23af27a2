"""What an analysis changes as a table, one row a changed field: for notebooks, CSV and Parquet."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perfopt.domain.recommendation import AnalysisResult
from perfopt.report.changes import UNSET, ServiceChanges, ShownChange, service_changes

if TYPE_CHECKING:
    import pandas as pd

_TEXT: pa.DataType = pa.string()
_NUMBER: pa.DataType = pa.float64()
_COUNT: pa.DataType = pa.int64()
_TIME: pa.DataType = pa.timestamp("s", tz="UTC")
_FLAG: pa.DataType = pa.bool_()
SCHEMA = pa.schema(
    {
        "service": _TEXT,
        "container": _TEXT,
        "type": _TEXT,
        "field": _TEXT,
        "current": _TEXT,
        "recommended": _TEXT,
        "current_value": _NUMBER,
        "recommended_value": _NUMBER,
        "severity": _TEXT,
        "confidence": _NUMBER,
        "backtest_accurate": _COUNT,
        "backtest_scored": _COUNT,
        "hit_rate": _NUMBER,
        "n_effective": _NUMBER,
        "recommendation_id": _TEXT,
        "valid_until": _TIME,
        "monthly_cost_current": _NUMBER,
        "monthly_cost_recommended": _NUMBER,
        "currency": _TEXT,
        "assumed_from_limit": _FLAG,
        "expected_value": _NUMBER,
    }
)


def to_arrow(results: Iterable[AnalysisResult]) -> pa.Table:
    """Returns one row a changed field, the most valuable service first.

    `current` and `recommended` are Kubernetes strings, null where unset; `current_value` and
    `recommended_value` the same in cores, bytes or replicas, null where a field is no number. Costs are a
    month's, of the whole service, and stand in its first row only, so that a column's sum is right.

    Args:
        results: of `perfopt.analysis`, one a service.
    """
    rows = [row for of in service_changes(results) for row in _rows(of)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def to_frame(results: Iterable[AnalysisResult]) -> "pd.DataFrame":
    """Returns the same as a pandas DataFrame; pandas comes with the extra `perfopt[frames]`.

    Raises:
        ImportError: pandas is not installed.
    """
    return to_arrow(results).to_pandas()


def _rows(of: ServiceChanges) -> Iterator[dict[str, Any]]:
    whole = {
        "monthly_cost_current": of.cost_current,
        "monthly_cost_recommended": of.cost_recommended,
        "currency": of.currency,
        "assumed_from_limit": of.assumed,
        "expected_value": of.expected_value,
    }
    for number, row in enumerate(of.rows):
        yield {"service": of.service, **_change(row), **(whole if number == 0 else {})}


def _change(row: ShownChange) -> dict[str, Any]:
    return {
        "container": row.container or None,
        "type": row.kind,
        "field": row.what,
        "current": None if row.current == UNSET else row.current,
        "recommended": None if row.recommended == UNSET else row.recommended,
        "current_value": row.current_value,
        "recommended_value": row.recommended_value,
        "severity": row.severity,
        "confidence": row.confidence,
        "backtest_accurate": row.accurate,
        "backtest_scored": row.scored,
        "hit_rate": row.accurate / row.scored if row.scored else None,
        "n_effective": row.n_effective,
        "recommendation_id": row.recommendation_id,
        "valid_until": row.valid_until,
    }
