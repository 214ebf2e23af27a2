import io
from importlib.resources import files

import numpy as np
import pytest

from perfopt.capacity import NotIdentified, identify, observe


def test_a_service_held_by_its_quota_is_predicted_at_another_limit(world):
    service = world.service(share=0.1, ratio=8.0, spread=0.05, wait=0.02)
    model = identify(world.observed(service))
    for limit in (0.3, 0.6, 0.9):
        expected = world.truth(service, rate=60, limit=limit)
        assert model.latency_ms(model.load(60, limit), 0.99)[0] == pytest.approx(expected, rel=0.25)


def test_a_service_held_by_its_threads_gains_from_threads_and_not_from_cpu(world):
    held = world.service(share=0.1, ratio=8.0, spread=0.05, wait=0.04, threads=4.0)
    observed = world.observed(held, cpu=0.003, limit=0.35, busiest=0.72, noise=0.02)
    model = identify(observed)
    now = model.latency_ms(model.load(84, 0.35), 0.99)[0]
    assert 3 < model.threads < 6
    assert model.latency_ms(model.load(84, 2.0), 0.99)[0] > 0.6 * now
    assert model.without_thread_limit().latency_ms(model.load(84, 2.0), 0.99)[0] < 0.7 * now


def test_a_load_that_does_not_vary_identifies_nothing(world):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    flat = np.full_like(rate, rate.mean())
    answer = identify(observe(flat, cpu.mean() + 0 * cpu, limit, latency, throttled, seconds))
    assert isinstance(answer, NotIdentified)
    assert "varies too little" in answer.reason


def test_few_requests_identify_nothing(world):
    answer = identify(world.observed(world.service(), cpu=0.05, limit=0.4, count=12))
    assert isinstance(answer, NotIdentified)
    assert "requests were measured" in answer.reason


def test_without_a_median_work_and_waiting_are_one(world):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    latency[:, 0] = np.nan
    answer = identify(observe(rate, cpu, limit, latency, throttled, seconds))
    assert isinstance(answer, NotIdentified)
    assert "median" in answer.reason


def test_latency_that_follows_something_else_identifies_nothing(world):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    quietest = rate <= np.quantile(rate, 0.5)
    latency[quietest, 1:] *= 12
    latency[~quietest, 1:] /= 3
    answer = identify(observe(rate, cpu, limit, latency, throttled, seconds))
    assert isinstance(answer, NotIdentified)
    assert "does not follow load" in answer.reason


def test_a_model_is_the_same_each_time(world):
    observed = world.observed(world.service())
    first, second = identify(observed), identify(observed)
    assert np.array_equal(first.weights, second.weights)


def test_windows_at_the_limit_and_after_it_are_left_out(world):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    cpu[10] = limit[10]
    observed = observe(rate, cpu, limit, latency, throttled, seconds)
    assert observed.windows.sum() == rate.size - 2


def test_missing_samples_leave_the_rest(world):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    rate[::3] = np.nan
    latency[1, 2] = np.nan
    throttled[:] = np.nan
    observed = observe(rate, cpu, limit, latency, throttled, seconds)
    assert observed.windows.sum() == np.isfinite(rate).sum()
    assert not isinstance(identify(observed), NotIdentified)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_hardly_any_window_is_no_observation(world, count):
    rate, cpu, limit, latency, throttled, seconds = world.windows(world.service())
    first = slice(count)
    assert observe(rate[first], cpu[first], limit[first], latency[first], throttled[first], seconds) is None


def test_a_trained_surrogate_takes_the_place_of_the_shipped_one(world):
    shipped = (files("perfopt.capacity") / "surrogate.npz").read_bytes()
    with np.load(io.BytesIO(shipped)) as arrays:
        other = {name: arrays[name] for name in arrays.files}
    other["layer_bias_2"] = other["layer_bias_2"] + np.float32(0.2)
    content = io.BytesIO()
    np.savez(content, **other)
    observed = world.observed(world.service())
    first, same, changed = (
        identify(observed, trained=trained) for trained in (None, shipped, content.getvalue())
    )
    assert np.array_equal(first.weights, same.weights)
    assert changed.surrogate.layers[2][1] == pytest.approx(first.surrogate.layers[2][1] + 0.2)
