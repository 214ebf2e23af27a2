"""Rates that come of a counter that jumps and comes back are left out; bursts and restarts stay."""

import numpy as np

from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.jumps import spikes, without_jumps

STEP = 300_000


def series(values):
    return RangeSeries({}, np.arange(len(values), dtype=np.int64) * STEP, np.array(values, dtype=float))


def rates(**odd):
    values = [1.0] * 30
    for at, value in odd.items():
        values[int(at[1:])] = value
    return series(values)


def test_a_rate_out_of_proportion_at_which_the_counter_fell_is_left_out():
    jumps = without_jumps(rates(s10=500.0), series([float(i == 10) for i in range(30)]), STEP)
    assert (jumps.count, jumps.series.values.max()) == (1, 1.0)
    assert 10 * STEP not in jumps.series.times


def test_a_counter_that_falls_back_in_the_step_after_its_jump_is_found_out_too():
    jumps = without_jumps(rates(s10=500.0), series([float(i == 11) for i in range(30)]), STEP)
    assert jumps.count == 1


def test_a_burst_stays_where_the_counter_did_not_fall():
    assert without_jumps(rates(s10=500.0), series([0.0] * 30), STEP).count == 0
    assert without_jumps(rates(s10=500.0), None, STEP).count == 0


def test_a_restart_that_makes_no_spike_stays():
    assert without_jumps(rates(s10=0.7), series([float(i == 10) for i in range(30)]), STEP).count == 0


def test_use_that_grows_or_begins_is_no_spike():
    assert not spikes(series(np.linspace(0.1, 5, 40).tolist())).any()
    assert not spikes(series([np.nan] * 10 + [2.0] * 20)).any()
    assert not spikes(series([])).any()
