import io
from importlib.resources import files

import numpy as np
import pytest

from perfopt.capacity.kind import LatencyKind
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.errors import InvalidInputError

SHIPPED = (files("perfopt.capacity") / "surrogate.npz").read_bytes()


def changed(**arrays):
    with np.load(io.BytesIO(SHIPPED)) as found:
        kept = {name: found[name] for name in found.files}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in (kept | arrays).items() if value is not None})
    return buffer.getvalue()


def test_the_shipped_file_is_a_latency_model():
    read = LatencyKind().load(SHIPPED)
    assert all(
        np.array_equal(a, b) for a, b in zip(read.layers[0], shipped_surrogate().layers[0], strict=True)
    )
    assert LatencyKind().check(SHIPPED)["weights"] > 1000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a file of arrays",
        SHIPPED[:2000],
        changed(mean=None),
        changed(mean=np.zeros(3)),
        changed(layer_weights_0=np.zeros((3, 64))),
        changed(layer_bias_0=np.zeros(3)),
    ],
)
def test_other_content_is_refused(content):
    with pytest.raises(InvalidInputError, match="perfopt train --what latency"):
        LatencyKind().check(content)
