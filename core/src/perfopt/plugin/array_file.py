"""Model files that hold arrays and a card, without code in them."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CARD = "card"


def write_arrays(arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> bytes:
    """Returns the content of a file with these arrays and this card; the same for the same arguments.

    Args:
        arrays: by name; none is called "card".
        card: plain data for JSON.
    """
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(card, indent=1).encode(), dtype=np.uint8)
    np.savez(buffer, **{**arrays, _CARD: text})  # type: ignore[arg-type]  # its own keywords are none of them
    return buffer.getvalue()


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file's content, its card included.

    Raises:
        ValueError, KeyError, OSError, EOFError, BadZipFile: the content is no file of arrays.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_card(content: bytes) -> dict[str, Any]:
    """Returns the card of a file that `read_arrays` reads; empty where it has none that can be read."""
    try:
        card = json.loads(read_arrays(content)[_CARD].tobytes())
    except (KeyError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}
