import dataclasses

import numpy as np
import pytest

from perfopt_resource.model.features import NAMES
from perfopt_resource.training.examples import example

DAY = 86400


def test_samples_after_the_instant_change_the_outcome_only(fleet):
    before = example(fleet[0], 5 * 288, DAY)
    cpu = fleet[0].cpu_cores.copy()
    cpu[:, 5 * 288 :] *= 7
    after = example(dataclasses.replace(fleet[0], cpu_cores=cpu), 5 * 288, DAY)
    np.testing.assert_array_equal(before.seen.values, after.seen.values)
    assert after.needs["cpu"] == pytest.approx(7 * before.needs["cpu"], abs=0.007)


def test_limits_changed_later_are_not_known(fleet):
    limits = np.full(fleet[0].grid.size, 4.0)
    limits[5 * 288 :] = 8.0
    changed = example(dataclasses.replace(fleet[0], cpu_limit_cores=limits), 5 * 288, DAY)
    np.testing.assert_array_equal(changed.seen.values, example(fleet[0], 5 * 288, DAY).seen.values)


def test_an_outcome_with_under_half_of_its_samples_is_no_example(fleet):
    cpu = fleet[0].cpu_cores.copy()
    cpu[:, 5 * 288 : 5 * 288 + 150] = np.nan
    assert example(dataclasses.replace(fleet[0], cpu_cores=cpu), 5 * 288, DAY) is None


def test_examples_keep_rows_together(examples):
    kept = examples.where(examples.series == "s3")
    assert set(kept.series) == {"s3"}
    assert len(kept.features) == len(kept.at) == len(kept.needs["memory"])


def test_a_frame_has_what_was_known_and_what_was_needed(examples, fleet):
    pd = pytest.importorskip("pandas")
    frame = examples.to_frame()
    assert list(frame.columns[:5]) == [
        "series",
        "at",
        "validity_seconds",
        "need_cpu",
        "need_memory",
    ]
    assert len(frame.columns) == 5 + len(NAMES)
    row = examples.where(examples.series == "s3").to_frame().iloc[0]
    series = next(one for one in fleet if one.name == "s3")
    cutoff = series.grid.index(row["at"].to_pydatetime())
    truth = example(series, cutoff, int(row["validity_seconds"]))
    assert row["need_cpu"] == pytest.approx(truth.needs["cpu"])
    assert row["need_memory"] == pytest.approx(truth.needs["memory"])
    pd.testing.assert_series_equal(
        row[list(NAMES)].astype(float), pd.Series(truth.seen.values, index=list(NAMES)), check_names=False
    )
