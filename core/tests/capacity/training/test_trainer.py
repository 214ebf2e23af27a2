import shutil

import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.kind import LatencyKind
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.capacity.training.trainer import LatencyOptions
from perfopt.plugin import TrainingRequest

REQUEST = TrainingRequest(name="test", version="1", options=LatencyOptions(services=3000))
QUIET = ServiceParameters(*(np.array([value]) for value in (0.0, 1.0, 0.3, 0.0, 0.0, 1.0, 4.0)))


def load(rate):
    return ReplicaLoad(np.array([rate]), np.array([rate * 0.01]), np.array([0.8]), np.array(60.0))


@pytest.fixture(scope="module")
def trained():
    pytest.importorskip("sklearn")
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    return LatencyKind().trainer.train((), REQUEST)


def test_a_small_training_gives_a_model_that_can_be_used(trained):
    assert LatencyKind().check(trained.content)["weights"] > 1000
    assert trained.figures["services"] > 2500
    assert trained.figures["median |log error| of p50"] < 0.3


def test_what_it_learns_is_what_the_shipped_surrogate_knows(trained):
    few, many = (LatencyKind().load(trained.content).predict(QUIET, load(rate)) for rate in (10.0, 70.0))
    assert (many[..., :4] > few[..., :4]).all()
    shipped = shipped_surrogate().predict(QUIET, load(10.0))
    np.testing.assert_allclose(few[..., :4], shipped[..., :4], atol=0.6)


def test_the_same_options_give_the_same_bytes(trained):
    assert LatencyKind().trainer.train((), REQUEST).content == trained.content
