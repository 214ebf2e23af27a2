"""Which limit or number of replicas is chosen, on a predictor whose latency is known by hand."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from perfopt.capacity import BUSIEST, MARGIN
from perfopt_latency.remedy import LatencyRemedy, least_limit, more_replicas, raised_limit


@dataclass
class Inverse:
    """A service whose busy latency is 100 ms / limit, and 100 ms x running / replicas."""

    limit_cores: float = 1.0
    parts: int = 1
    replicas: float = 4.0
    cores_used: float = 0.1

    def latency_ms(self, limits):
        return 100 / limits

    def utilisation(self, limits):
        return self.cores_used / limits

    def meets(self, replicas, limits, target_ms):
        assert limits.tolist() == [self.limit_cores] * replicas.size
        busy = 100 * self.replicas / replicas
        return busy * MARGIN <= target_ms, busy


def tried(low, high):
    """Returns the limits that are tried: 24 by equal factors, each rounded up to 10m."""
    return np.unique(np.ceil(np.geomspace(low, high, 24) * 100) / 100)


def smallest(limits, target_ms):
    return float(limits[100 / limits * MARGIN <= target_ms][0])


@pytest.mark.parametrize("target", [100.0, 65.0, 45.0])
def test_the_smallest_limit_above_the_present_that_meets_the_objective(target):
    limit = smallest(tried(1.1, 3.0), target)
    assert raised_limit(Inverse(), target) == LatencyRemedy(100 / limit, limit_cores=limit)


def test_an_objective_met_at_once_moves_the_limit_by_a_tenth():
    assert raised_limit(Inverse(), 1000.0).limit_cores == 1.1
    assert least_limit(Inverse(cores_used=0.01), 100 * MARGIN / 0.9 + 1e-6).limit_cores == 0.9


def test_the_largest_limit_is_three_cores_a_part_or_twice_the_present():
    three = 100 * MARGIN / 3
    assert raised_limit(Inverse(), three + 1e-6).limit_cores == 3.0
    assert raised_limit(Inverse(), three - 0.1) is None
    assert raised_limit(Inverse(parts=2), three / 2 + 1e-6).limit_cores == 6.0
    assert raised_limit(Inverse(limit_cores=4.0), three * 3 / 8 + 1e-6).limit_cores == 8.0
    assert raised_limit(Inverse(limit_cores=4.0), three * 3 / 8 - 0.1) is None


@pytest.mark.parametrize("target", [260.0, 400.0])
def test_the_smallest_limit_below_the_present_that_meets_the_objective(target):
    limit = smallest(tried(0.1, 0.9), target)
    assert least_limit(Inverse(cores_used=0.01), target) == LatencyRemedy(100 / limit, limit_cores=limit)


def test_limits_go_down_to_a_tenth_of_the_present_and_no_lower_than_10m():
    easy = Inverse(cores_used=0.001)
    assert least_limit(easy, 1e9).limit_cores == 0.1
    assert least_limit(Inverse(limit_cores=0.02, cores_used=0.0001), 1e9).limit_cores == 0.01
    assert least_limit(easy, 100 * MARGIN / 0.9 - 0.1) is None


def test_a_limit_leaves_a_tenth_of_it_unused_at_the_busy_load():
    assert least_limit(Inverse(cores_used=0.81), 1e9).limit_cores == pytest.approx(0.81 / BUSIEST)
    assert least_limit(Inverse(cores_used=0.82), 1e9) is None


def test_nothing_is_chosen_for_an_objective_without_bound():
    assert raised_limit(Inverse(), math.inf) is None
    assert least_limit(Inverse(), math.inf) is None


@pytest.mark.parametrize(
    ("target", "replicas"),
    [(100 * MARGIN * 4 / 5, 5), (100 * MARGIN * 4 / 5 - 0.1, 6), (100 * MARGIN / 3 + 1e-6, 12)],
)
def test_the_fewest_more_replicas_that_meet_the_objective(target, replicas):
    remedy = more_replicas(Inverse(), target)
    assert (remedy.replicas, remedy.limit_cores) == (replicas, None)
    assert remedy.busy_ms == pytest.approx(400 / replicas)


def test_no_more_than_three_times_the_replicas_and_two_more():
    assert more_replicas(Inverse(), 100 * MARGIN / 3 - 0.1) is None
    assert more_replicas(Inverse(replicas=1.0), 100 * MARGIN / 3 + 1e-6).replicas == 3
    assert more_replicas(Inverse(replicas=0.4), 40 * MARGIN / 2 + 1e-6).replicas == 2
    assert more_replicas(Inverse(replicas=0.4), 40 * MARGIN / 3 + 1e-6).replicas == 3
    assert more_replicas(Inverse(replicas=0.4), 40 * MARGIN / 3 - 0.1) is None


def test_eight_numbers_of_replicas_are_tried():
    counts = np.unique(np.round(np.geomspace(101, 300, 8)))
    target = 100 * MARGIN * 100 / counts[3] + 1e-6
    assert more_replicas(Inverse(replicas=100.0), target).replicas == counts[3]
