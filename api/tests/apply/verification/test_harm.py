"""What is shown of a check: the bounds that the verdict rests on, in their own unit."""

import math

import numpy as np
import pytest

from perfopt_api.apply.verification.bounds import ConfidenceSequence
from perfopt_api.apply.verification.harm import ComparedMetric, shown
from perfopt_api.apply.verification.verdict import MetricCheck, ToleratedHarm

FAILED = ComparedMetric(name="failed_requests", margin=math.log(1.25), accepted_share=0.001)


def harm(estimate, upper, margin):
    sequence = ConfidenceSequence(np.array([estimate]), np.array([estimate - 1.0]), np.array([upper]))
    return ToleratedHarm(sequence, margin)


def test_a_ratio_is_shown_as_a_ratio_of_rates():
    bounds = shown(FAILED, MetricCheck("failed_requests", harm(0.0, math.log(1.1), FAILED.margin)))
    assert (bounds.name, bounds.estimate) == ("failed_requests", 1.0)
    assert (bounds.upper, bounds.margin) == (pytest.approx(1.1), pytest.approx(1.25))


def test_where_the_share_ruled_harm_out_it_is_the_share_that_is_shown():
    ratio, share = harm(0.0, math.log(4.2), FAILED.margin), harm(0.0, 0.0007, 0.001)
    bounds = shown(FAILED, MetricCheck("failed_requests", ratio, (share,)))
    assert (bounds.name, bounds.upper, bounds.margin) == ("failed_requests_share", 0.0007, 0.001)


def test_where_neither_ruled_harm_out_it_is_the_ratio_that_is_shown():
    ratio, share = harm(0.0, math.log(4.2), FAILED.margin), harm(0.0, 0.002, 0.001)
    assert shown(FAILED, MetricCheck("failed_requests", ratio, (share,))).name == "failed_requests"
