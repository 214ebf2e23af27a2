"""Kinds of models that a plugin brings: how a file is read and checked, and how one is trained.

A model is the content of a file, without code in it. Whoever uses one gives bytes (`--model`, a setting, the
registry of a service); only the kind interprets them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import msgspec

from perfopt.metrics.snapshot import WorkloadSnapshot


def no_progress(stage: str, done: int, total: int | None) -> None:
    """Shows no progress."""


def compute(name: str, part: Callable[[], bytes]) -> bytes:
    """Returns the result of a part of a training, which is stored nowhere."""
    return part()


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained, beside what it is trained on.

    Attributes:
        name, version: of the model, for its card.
        data: source, licence and citation of each data set, for its card.
        command: that rebuilds the same file, for its card.
        trained_until: no outcome learnt from is at or after it; None for data without dates.
        validity: how long recommendations or forecasts made with the model must hold.
        options: an instance of the trainer's `options`.
        progress: shows how far training is: what is being done, how much of it is done, and of how much.
        once: gives the result of a named part of the training: from where an interrupted training of the same
            stored it, or by computing it. No two parts of a training have one name.
        executor: runs pure functions of arguments that can be pickled, perhaps elsewhere; None is here.
    """

    name: str
    version: str
    data: tuple[str, ...] = ()
    command: str = ""
    trained_until: datetime | None = None
    validity: timedelta = timedelta(days=7)
    options: Any = None
    progress: Callable[[str, int, int | None], object] = no_progress
    executor: Executor | None = None
    once: Callable[[str, Callable[[], bytes]], bytes] = compute

    def each[T](self, items: Sequence[T], stage: str) -> Iterator[T]:
        """Yields items one after the other and shows how many are done.

        Args:
            items: what a stage of the training goes through.
            stage: what is being done, such as "collecting examples".
        """
        for number, item in enumerate(items):
            self.progress(stage, number, len(items))
            yield item
        self.progress(stage, len(items), len(items))


class TrainedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The result of training.

    Attributes:
        content: of the model file; the same examples and request give the same bytes.
        figures: how the model does on what it was not trained on, by name; printed to the user.
        measured: how the figures were measured, a phrase.
    """

    content: bytes
    figures: Mapping[str, float]
    measured: str


@runtime_checkable
class Trainer(Protocol):
    """Trains one kind of model. Everything heavy is imported inside its methods."""

    @property
    def metrics(self) -> frozenset[str]:
        """Names from the metric catalogue that are read for `examples`.

        Empty where the trainer needs no metrics, such as one that learns from simulations: it is given no
        examples.
        """

    @property
    def modules(self) -> Sequence[str]:
        """Names of modules that training imports and using the model does not, such as "sklearn".

        Where one is missing, the user is told to install perfopt[train].
        """

    @property
    def options(self) -> type[msgspec.Struct] | None:
        """A struct of what a user can set of the training, each field with a default; None for nothing."""

    def examples(self, snapshot: WorkloadSnapshot) -> Sequence[Any]:
        """Returns what there is to learn from one workload, possibly nothing.

        Args:
            snapshot: the whole history that the user gave, with `metrics`.
        """

    def train(self, examples: Sequence[Any], request: TrainingRequest) -> TrainedModel:
        """Trains a model. Deterministic.

        Args:
            examples: of all workloads, in order of their names.
            request: how.

        Raises:
            InvalidInputError: there is too little to learn from; the message says how much is needed.
        """


@runtime_checkable
class ModelKind(Protocol):
    """One kind of model. Stateless.

    A plugin that has a setting for files of this kind says so on the setting itself:
    `Meta(extra={"model": kind})`, see `perfopt_settings`.
    """

    @property
    def kind(self) -> str:
        """Its name, unique among what is installed, [a-z0-9_-]+.

        It is what `perfopt train --what` and `perfopt model register --kind` call it, and its key in
        `AnalysisContext.models`.
        """

    @property
    def description(self) -> str:
        """What it is for, a phrase."""

    @property
    def trainer(self) -> Trainer | None:
        """How one is trained; None where users can't."""

    def load(self, content: bytes) -> Any:
        """Returns the model of a file's content.

        Raises:
            InvalidInputError: the content is no model of this kind, or of another version; says which.
        """

    def check(self, content: bytes) -> dict[str, Any]:
        """Checks content that may be anything and returns the model's card: plain data for JSON.

        The engine calls it in a process that can be killed.

        Raises:
            InvalidInputError: as `load`.
        """
