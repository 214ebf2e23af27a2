import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfopt.capacity import GroupedObservations, ReplicaLoad
from perfopt.capacity.residual import fit_residual

misses = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=8)


def learnt(column, deviation):
    groups = len(column)
    load = ReplicaLoad(
        np.linspace(1, 9, groups), np.linspace(0.1, 0.9, groups), np.ones(groups), np.array(5.0)
    )
    observed = GroupedObservations(load, np.zeros((groups, 4)), np.zeros(groups), np.full(groups, 10.0))
    table = np.repeat(np.array(column)[:, None], 4, axis=1)
    return fit_residual(observed, table, np.full((groups, 4), deviation))


@given(column=misses, deviation=st.floats(0, 1))
def test_it_never_falls_with_utilisation(column, deviation):
    values = learnt(column, deviation).at(np.linspace(0, 1, 50))
    assert (np.diff(values, axis=0) >= -1e-12).all()


@given(column=misses)
def test_what_may_be_chance_is_hardly_believed(column):
    assert np.abs(learnt(column, 1.0).values).max() <= 0.01 * 0.5 + 1e-9


def test_a_certain_rise_is_believed():
    values = learnt([-0.1, 0.0, 0.1, 0.2], 0.0).values[:, 3]
    np.testing.assert_allclose(values, [-0.1, 0.0, 0.1, 0.2])


def test_what_is_not_measured_adds_nothing():
    assert np.abs(learnt([np.nan, np.nan], 0.0).values).max() == 0
