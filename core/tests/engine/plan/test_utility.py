"""What the preference of rules does to an expected utility."""

import pytest

from perfopt.engine.plan.utility import preferred


@pytest.mark.parametrize(
    ("value", "preference", "weighed"),
    [
        (10.0, 2.0, 20.0),
        (10.0, 0.5, 5.0),
        (0.5, 2.0, 1.0),
        (0.0, 2.0, 0.0),
        (-10.0, 2.0, -5.0),  # a loss weighs less where the proposal is preferred
        (-10.0, 0.5, -20.0),
        (10.0, 0.0, 0.0),
        (-10.0, 0.0, 0.0),
    ],
)
def test_a_preference_favours_gains_and_losses_alike(value, preference, weighed):
    assert preferred(value, preference) == weighed
