import io

import numpy as np
import pytest

from perfopt.errors import InvalidInputError
from perfopt.forecast.kind import ForecastKind
from perfopt.forecast.model_file import fleet_network, read_network
from perfopt.plugin.array_file import read_card, write_arrays


def arrays_of(network):
    arrays = {"mean": network.mean, "deviation": network.deviation, "theta": network.theta}
    for number, (weights, bias) in enumerate(network.layers):
        arrays |= {f"weights_{number}": weights, f"bias_{number}": bias}
    return arrays


def test_a_file_gives_back_the_network_and_its_card():
    content = write_arrays(arrays_of(fleet_network()), {"name": "own"})
    assert content == write_arrays(arrays_of(fleet_network()), {"name": "own"})
    assert ForecastKind().check(content) == {"name": "own"}
    assert np.array_equal(read_network(content).theta, fleet_network().theta)


def test_a_file_without_a_card_is_a_network_all_the_same():
    buffer = io.BytesIO()
    np.savez(buffer, **arrays_of(fleet_network()))
    assert read_network(buffer.getvalue()).layers
    assert read_card(buffer.getvalue()) == {}


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04"])
def test_what_is_no_model_is_refused_with_a_remedy(content):
    with pytest.raises(InvalidInputError, match="is no forecast model") as refused:
        ForecastKind().check(content)
    assert "perfopt train --what forecast" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mean", lambda mean: mean[1:]),
        ("deviation", lambda deviation: deviation * 0),
        ("theta", lambda theta: theta[:, ::-1]),
        ("theta", lambda theta: theta + 1),
        ("theta", lambda theta: theta - 1),
        ("theta", lambda theta: theta[1:]),
        ("weights_0", lambda weights: weights[:, 1:]),
        ("weights_1", lambda weights: weights[:, :, 1:]),
        ("weights_2", lambda weights: weights[:, :, 1:]),
        ("weights_1", lambda weights: weights[0]),
        ("weights_1", lambda weights: weights[1:]),
        ("bias_1", lambda bias: bias[:, 1:]),
        ("bias_0", lambda bias: bias * np.nan),
        ("mean", lambda mean: mean.astype(int)),
    ],
)
def test_a_network_of_another_shape_is_refused(name, change):
    arrays = arrays_of(fleet_network())
    content = write_arrays(arrays | {name: change(arrays[name])}, {})
    with pytest.raises(InvalidInputError, match="other inputs or outputs"):
        read_network(content)
