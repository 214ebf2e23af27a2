"""Sizing models that have not seen a series: of each half of bitbrains_rnd, one trained on the other half."""

from functools import lru_cache
from pathlib import Path

from train_sizing import series_of
from walk_traces import Split, split_of

from perfopt.learn.build import build
from perfopt.learn.examples import collect
from perfopt.learn.model import SizingModel

OTHER: dict[Split, Split] = {"tune": "report", "report": "tune"}


@lru_cache(maxsize=2)
def trained_without(traces: Path, split: Split) -> SizingModel:
    """Returns the model for series of a half; takes two minutes on one core."""
    half = OTHER[split]
    kept = (one for one in series_of(traces / "bitbrains_rnd.parquet", None) if split_of(one.name) == half)
    return build(
        collect(kept),
        name=f"half-{half}",
        version="0",
        data=(),
        command="python benchmarks/resource_accuracy.py --traces DIR",
    )
