import pytest

from perfopt.domain.limits import ClusterLimits, room

GIB, MIB = 2**30, 2**20
QUOTA = ClusterLimits(free_requests_cpu=1.0, free_requests_memory=float(GIB))


@pytest.mark.parametrize(
    ("resource", "size", "replicas", "most"),
    [
        ("cpu", 1.0, 3, 1.333),  # three times 1.334 are 4.002 where 4 are allowed
        ("cpu", 1.0, 1, 2.0),
        ("cpu", 1.0, 2, 1.5),
        ("memory", GIB, 3, GIB + 341 * MIB),
        ("memory", GIB, 1, 2 * GIB),
    ],
)
def test_parts_of_a_quota_are_whole_units_that_fit_together(resource, size, replicas, most):
    bounds = {"others": 0.0, "containers": 1, "limit": None}
    found = room(QUOTA, resource, request=size, replicas=replicas, **bounds)
    assert found.request_most == pytest.approx(most)
    assert found.request_most is not None
    assert (found.request_most - size) * replicas <= (1.0 if resource == "cpu" else GIB) + 1e-9


def test_a_quota_that_is_used_up_lowers_no_request():
    full = ClusterLimits(free_requests_cpu=0.0)
    found = room(full, "cpu", others=0.0, containers=1, replicas=3, request=0.2505, limit=None)
    assert found.request_most == 0.2505
