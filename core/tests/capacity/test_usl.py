import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.capacity import ScalabilityLaw, fit_usl

BUSY = np.linspace(1, 40, 30)


@given(alone=st.floats(1, 500), contention=st.floats(0, 0.5), coherency=st.floats(0, 0.01))
def test_the_law_that_made_the_points_is_found(alone, contention, coherency):
    law = ScalabilityLaw(alone, contention, coherency)
    scalability_law = fit_usl(law.throughput(BUSY), BUSY)
    assert scalability_law.rate_alone == pytest.approx(alone, rel=1e-3)
    assert scalability_law.contention == pytest.approx(contention, abs=1e-3)
    assert scalability_law.coherency == pytest.approx(coherency, abs=1e-4)


def test_throughput_peaks_where_the_law_says():
    law = ScalabilityLaw(100, 0.05, 0.001)
    rates = law.throughput(np.arange(1, 200.0))
    assert abs(int(np.argmax(rates)) + 1 - law.best_concurrency) <= 1


def test_without_coherency_cost_there_is_no_peak():
    assert ScalabilityLaw(100, 0.05, 0.0).best_concurrency == math.inf


def test_a_speed_up_is_not_negative_contention():
    law = fit_usl(10 * BUSY**1.2, BUSY)
    assert law.contention == 0
    assert law.coherency == 0


def test_concurrency_that_hardly_varies_tells_nothing():
    assert fit_usl(np.full(20, 50.0), np.linspace(4, 5, 20)) is None
