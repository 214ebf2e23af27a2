"""Parts of a training that are stored, so that an interrupted one goes on."""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec


def stored_in(
    folder: Path, command: str, options: msgspec.Struct | None, examples: Sequence[Any]
) -> Callable[[str, Callable[[], bytes]], bytes]:
    """Returns what computes a part once and stores its result.

    Args:
        folder: is made where there is none; parts of other commands, data and versions may be there too.
        command: that trains.
        options: of the training, those left at their defaults too.
        examples: learnt from; the results depend on all of these and the version of perfopt.
    """
    digest = hashlib.sha256(f"{version('perfopt')} {command} {options!r}".encode())
    for example in examples:
        digest.update(pickle.dumps(example, protocol=5))
    own = folder / digest.hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    used = set[str]()

    def once(name: str, part: Callable[[], bytes]) -> bytes:
        if name in used:
            raise ValueError(
                f"Two parts of the training are called {name!r}: one would be read as the other."
            )
        file, unfinished = own / name, own / f"{name}.unfinished"
        if not file.exists():
            unfinished.write_bytes(part())
            unfinished.replace(file)
        used.add(name)
        return file.read_bytes()

    return once
