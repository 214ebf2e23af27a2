"""Who would wait too long for a connection is refused, by what uses of connections take lately."""

from contextlib import ExitStack

import pytest

from perfopt_api.errors import OverloadedError
from perfopt_api.store.admission import MAX_WAIT_SECONDS, AdmissionQueue


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def used_for(queue, clock, seconds, times=100):
    """Uses one connection again and again, each time for so long."""
    for _ in range(times):
        with queue.place() as use:
            use()
            clock.now += seconds


def test_nobody_waits_while_a_connection_is_free():
    queue = AdmissionQueue(2)
    with queue.place():
        assert queue.expected_wait == 0.0


@pytest.mark.parametrize(("seconds", "most"), [(0.1, 80), (1.0, 9)])
def test_a_slow_machine_has_a_shorter_queue(seconds, most):
    clock = Clock()
    queue = AdmissionQueue(2, clock)
    used_for(queue, clock, seconds)
    with ExitStack() as inside:
        count = 0
        while queue.expected_wait <= MAX_WAIT_SECONDS:
            inside.enter_context(queue.place())
            count += 1
        assert count == pytest.approx(most, abs=2)
        with pytest.raises(OverloadedError) as refused:
            inside.enter_context(queue.place())
        assert MAX_WAIT_SECONDS < refused.value.retry_after_seconds <= MAX_WAIT_SECONDS + 1
    assert queue.expected_wait == 0.0  # all have left


def test_the_mean_follows_what_uses_take_now():
    clock = Clock()
    queue = AdmissionQueue(1, clock)
    used_for(queue, clock, 5.0)
    used_for(queue, clock, 0.01)
    with queue.place():
        assert queue.expected_wait == pytest.approx(0.01, rel=0.1)


def test_waiting_for_a_connection_is_no_use_of_it():
    clock = Clock()
    queue = AdmissionQueue(1, clock)
    with queue.place():
        clock.now += 60.0  # and none came
    with queue.place():
        assert queue.expected_wait < 1.0
