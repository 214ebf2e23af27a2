import dataclasses

import numpy as np
import pytest

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
