import numpy as np
import pytest

from perfopt_resource.leak import leak_peak

WEEK = 2016


def test_a_saw_tooth_is_not_a_leak_and_a_line_is():
    line = np.linspace(100.0, 200.0, 4032)
    assert leak_peak(line[None], WEEK) == pytest.approx(250, rel=0.01)
    assert leak_peak((line % 30 + 100)[None], WEEK) is None
    assert leak_peak(np.full((1, 4032), 100.0), WEEK) is None
    assert leak_peak(np.linspace(100.0, 103.0, 4032)[None], WEEK) is None
    assert leak_peak(line[None, :600], WEEK) is None
