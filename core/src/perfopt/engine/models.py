"""The models of an engine: which kind content is of, and a note of which models a strategy read."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from perfopt.engine.foreign import describe
from perfopt.engine.messages import CheckedModel, CheckModel
from perfopt.errors import InvalidInputError
from perfopt.plugin.models import ModelKind

MAX_MODEL_BYTES = 32 * 2**20


def check_content(request: CheckModel, kinds: Mapping[str, ModelKind]) -> CheckedModel:
    """Returns the first of the kinds requested that accepts content, with its card, or what each said.

    It runs code of plugins on bytes that may be anything, so only where a process can be killed.
    """
    problems: list[CheckedModel] = []
    for name in request.kinds:
        try:
            return CheckedModel(kind=name, card=dict(kinds[name].check(request.content)))
        except InvalidInputError as error:
            problems.append(CheckedModel(kind=name, error=error.message, remedy=error.remedy))
        except Exception as error:
            problems.append(CheckedModel(kind=name, error=f"Checking it as {name} {describe(error)}."))
    if len(problems) == 1:
        return problems[0]
    return CheckedModel(error="No installed kind of model accepts the file.", remedy=_known(request.kinds))


def read_model_file(path: Path) -> bytes:
    """Returns the content of a model file, unchecked.

    Raises:
        InvalidInputError: it can't be read, or is larger than any model.
    """
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise InvalidInputError(
                f"The model {path} is larger than {MAX_MODEL_BYTES // 2**20} MiB.",
                field="model",
                remedy="Name a model file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"The model {path} can't be read: {error.strerror or error}.",
            field="model",
            remedy="Check the path and its mode.",
        ) from error


def wanted_kinds(kind: str | None, installed: Sequence[str]) -> tuple[str, ...]:
    """Returns the kinds that content may be of.

    Args:
        kind: the only one; None is all.
        installed: all there are.

    Raises:
        InvalidInputError: there is no such kind.
    """
    if kind is None:
        return tuple(installed)
    if kind not in installed:
        raise InvalidInputError(
            f"There is no kind of model called {kind!r}.", field="kind", remedy=_known(installed)
        )
    return (kind,)


def _known(kinds: Sequence[str]) -> str:
    return f"Known: {', '.join(kinds)}." if kinds else "No installed plugin brings a kind of model."


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
        content = self._models[kind]
        self.consulted.add(kind)
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)
