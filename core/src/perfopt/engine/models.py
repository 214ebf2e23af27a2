"""The models of an engine: checked where they are given, and a note of which a strategy read."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perfopt.errors import InvalidInputError
from perfopt.learn.model import SizingModel

# What reads a kind of model; it raises an InvalidInputError for content that is none.
_READERS: Mapping[str, Callable[[bytes], Any]] = {"sizing": SizingModel.loads}
KINDS = tuple(_READERS)


def read_checked(kind: str, content: bytes) -> Any:
    """Reads the content of a model file, to know that workers can.

    Raises:
        InvalidInputError: no such kind, or the content is no model of it.
    """
    if kind not in _READERS:
        raise InvalidInputError(
            f"There is no kind of model called {kind!r}.", field="kind", remedy=f"Known: {', '.join(KINDS)}."
        )
    return _READERS[kind](content)


def sha256(content: bytes) -> str:
    """Returns the hash that a model goes by, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class ConsultedModels(Mapping[str, bytes]):
    """Models for a context, which remembers those that were asked for and found.

    Attributes:
        consulted: their kinds.
    """

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self._models = models
        self.consulted: set[str] = set()

    def __getitem__(self, kind: str) -> bytes:
        found = self._models[kind]
        self.consulted.add(kind)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)
