"""Runs strategies in warm worker processes that are killed when they hang or eat memory."""

import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from perfopt.engine import messages
from perfopt.engine.child import (
    ChildCrashedError,
    ChildError,
    ChildOverMemoryError,
    ChildProcess,
    ChildTimedOutError,
)
from perfopt.engine.messages import (
    CheckedModel,
    CheckModel,
    MergeAnswer,
    MergeRequest,
    RunRequest,
    SetupRequest,
    StrategyAnswers,
    StrategyOutcome,
    SubjectRequest,
)
from perfopt.engine.models import sha256
from perfopt.engine.probe import LOAD_SECONDS, WORKER, set_up
from perfopt.engine.registry import PluginRegistry, PluginStatus
from perfopt.errors import PerfoptError
from perfopt.plugin.context import AnalysisContext
from perfopt.rules import RuleSources

MIB = 2**20
_STATUS: dict[type[ChildError], messages.Status] = {
    ChildTimedOutError: "timed_out",
    ChildCrashedError: "crashed",
    ChildOverMemoryError: "memory",
}


class EngineClosedError(PerfoptError):
    """An analysis was asked of a closed engine, or the engine was closed under it: ask another one."""

    code = "engine_closed"


@dataclass(frozen=True)
class _WorkerSetup:
    """What a worker is set up with; `digests` are of the models in it."""

    setup: SetupRequest
    digests: Mapping[str, str]

    @classmethod
    def of(cls, setup: SetupRequest) -> Self:
        return cls(setup, {kind: sha256(content) for kind, content in setup.models.items()})


class StrategyPool:
    """A pool of worker processes, started when first needed. Thread-safe.

    Each strategy, with its replays, has the deadline for itself. One that fails costs its own outcome:
    its process is replaced and the strategies after it run in the new one.

    Args:
        registry: the plugins to load in the workers; those that failed are not tried again.
        processes: how many tasks run at once.
        deadline_seconds: for one strategy.
        memory_limit_mib: resident memory of a worker.
        models: put into every context.
        rules: that proposals pass.
        settings: name of a plugin to its settings, put into the contexts of its strategies.
        forecasters, forecasters_weighted: as in `SetupRequest`.
        first: a process that has loaded these plugins; it becomes the first worker.
    """

    def __init__(
        self,
        registry: PluginRegistry,
        processes: int,
        deadline_seconds: float,
        memory_limit_mib: int,
        models: Mapping[str, bytes],
        rules: RuleSources,
        settings: Mapping[str, Mapping[str, Any]],
        forecasters: Sequence[str] = (),
        forecasters_weighted: bool = False,
        first: ChildProcess | None = None,
    ) -> None:
        loaded = (info for info in registry.plugins if info.status is PluginStatus.LOADED)
        only = frozenset((info.name, info.distribution) for info in loaded)
        plain = {name: dict(values) for name, values in settings.items()}
        setup = SetupRequest(
            only=only,
            models=dict(models),
            rules=rules,
            settings=plain,
            forecasters=tuple(forecasters),
            forecasters_weighted=forecasters_weighted,
        )
        self._worker_setup = _WorkerSetup.of(setup)
        self._deadline = deadline_seconds
        self._memory = memory_limit_mib * MIB
        self._slots = threading.BoundedSemaphore(processes)
        self._idle: list[ChildProcess] = []
        self._busy: set[_WorkerSlot] = set()
        self._lock = threading.Lock()
        self._first = first
        self._closed = False

    def use(self, models: Mapping[str, bytes]) -> None:
        """Puts other models into every context from now on.

        A task that is under way ends with those it began with; workers set up with them end after it.
        """
        setup = msgspec.structs.replace(self._worker_setup.setup, models=dict(models))
        worker_setup = _WorkerSetup.of(setup)
        with self._lock:
            if worker_setup.digests == self._worker_setup.digests:
                return
            self._worker_setup = worker_setup
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()

    def run(
        self,
        context: AnalysisContext,
        keys: Sequence[str],
        *,
        predictions: bool = False,
        backtested: bool = True,
    ) -> StrategyAnswers:
        """Runs strategies on one workload, one after the other in one process; blocks.

        Args:
            context: without forecasts and models.
            keys: of the strategies.
            predictions: make the forecasts for the user as well.
            backtested: whether proposals are backtested.

        Raises:
            EngineClosedError: the pool was closed before or meanwhile.
        """
        subject = messages.encode_request(SubjectRequest(pickle.dumps(context, pickle.HIGHEST_PROTOCOL)))
        with self._borrow() as slot:
            requests = (RunRequest(key, self._deadline, backtested) for key in keys)
            outcomes = tuple(_outcome(slot.ask(request, subject)) for request in requests)
            answers = StrategyAnswers(outcomes, models=slot.worker_setup.digests)
            forecasts = slot.ask(RunRequest(None, self._deadline), subject) if predictions else None
        if self._closed:
            raise EngineClosedError("The engine was closed during an analysis.")
        if forecasts is None:
            return answers
        if isinstance(forecasts, ChildError):
            return replace(answers, predictions_error=str(forecasts))
        return replace(answers, predictions=messages.decode_predictions(forecasts))

    def merge(self, context: AnalysisContext, request: MergeRequest) -> MergeAnswer:
        """Merges the proposals on one workload in a worker process; blocks.

        Args:
            context: of the strategies.
            request: what they gave.

        Raises:
            EngineClosedError: the pool was closed before or meanwhile.
        """
        subject = messages.encode_request(SubjectRequest(pickle.dumps(context, pickle.HIGHEST_PROTOCOL)))
        with self._borrow() as slot:
            answer = slot.ask(request, subject)
        if self._closed:
            raise EngineClosedError("The engine was closed during an analysis.")
        if isinstance(answer, ChildError):
            return MergeAnswer(error=str(answer))
        try:
            return messages.decode_merge(answer)
        except msgspec.MsgspecError as error:
            return MergeAnswer(error=f"gave a result that can't be read: {error}")

    def check_model(self, content: bytes, kinds: tuple[str, ...]) -> CheckedModel:
        """Has a worker process say which of some kinds of models content is of; blocks.

        Raises:
            EngineClosedError: the pool was closed before or meanwhile.
        """
        with self._borrow() as slot:
            answer = slot.ask(
                CheckModel(content, kinds, self._deadline), messages.encode_request(SubjectRequest(b""))
            )
        if self._closed:
            raise EngineClosedError("The engine was closed while it checked a model.")
        if isinstance(answer, ChildError):
            return CheckedModel(error=f"Checking the model {answer}.")
        try:
            return messages.decode_model(answer)
        except msgspec.MsgspecError as error:
            return CheckedModel(error=f"Checking the model gave a result that can't be read: {error}")

    @contextmanager
    def _borrow(self) -> Iterator["_WorkerSlot"]:
        with self._slots:
            slot = self._take()
            try:
                yield slot
            except BaseException:
                slot.leave()  # an answer may still be on its way: nobody else may read it
                raise
            finally:
                self._take_back(slot)

    def _take(self) -> "_WorkerSlot":
        with self._lock:
            if self._closed:
                raise EngineClosedError("The engine is closed.")
            child = self._idle.pop() if self._idle else None
            slot = _WorkerSlot(self._worker_setup, self._deadline, self._memory, child, self._started)
            self._busy.add(slot)
        return slot

    def _started(self) -> ChildProcess:
        """Returns a process that is not set up yet: the one there is, as long as it runs, or a new one."""
        with self._lock:
            first, self._first = self._first, None
        if first is not None and first.runs:
            return first
        return ChildProcess(WORKER)

    def _take_back(self, slot: "_WorkerSlot") -> None:
        with self._lock:
            self._busy.discard(slot)
            if not self._closed and slot.child is not None and slot.worker_setup is self._worker_setup:
                self._idle.append(slot.child)
                return
        slot.leave()

    def close(self) -> None:
        """Ends all workers; analyses that are under way raise EngineClosedError soon."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._first is not None:
                idle.append(self._first)
            for slot in self._busy:
                slot.stop()
        for child in idle:
            child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _WorkerSlot:
    """A worker in use for one task; replaced when it goes."""

    def __init__(
        self,
        worker_setup: _WorkerSetup,
        deadline: float,
        memory: int,
        child: ChildProcess | None,
        start: Callable[[], ChildProcess],
    ) -> None:
        self.child = child
        self.worker_setup = worker_setup
        self._deadline = deadline
        self._memory = memory
        self._start = start
        self._used = child is not None
        self._informed = False
        self._stopped = False

    def ask(self, request: RunRequest | MergeRequest | CheckModel, subject: bytes) -> bytes | ChildError:
        """Has a worker answer a request; a ChildError where it went away during it."""
        try:
            return self._ask(request, subject)
        except (ChildOverMemoryError, ChildCrashedError) as error:
            # A process with a past may have been ended by the system while it was idle, or by what
            # earlier strategies left behind in it. That is not this one's fault.
            return self._again(request, subject) if self._used else self._gone(error)
        except ChildError as error:
            return self._gone(error)

    def _again(self, request: RunRequest | MergeRequest | CheckModel, subject: bytes) -> bytes | ChildError:
        self.leave()
        try:
            return self._ask(request, subject)
        except ChildError as error:
            return self._gone(error)

    def _ask(self, request: RunRequest | MergeRequest | CheckModel, subject: bytes) -> bytes:
        if self.child is None:
            self.child = self._start()
            if self._stopped:  # looked at after the child can be seen, so that `stop` misses none
                raise ChildCrashedError("was stopped with the engine")
            set_up(self.child, self.worker_setup.setup, LOAD_SECONDS)
        if not self._informed:
            self.child.send(subject)
            self._informed = True
        self.child.send(messages.encode_request(request))
        answer = self.child.receive(self._deadline, self._memory)
        self._used = True
        return answer

    def _gone(self, error: ChildError) -> ChildError:
        self.leave()
        return error

    def stop(self) -> None:
        """Ends the work from another thread."""
        self._stopped = True
        child = self.child
        if child is not None:
            child.stop()

    def leave(self) -> None:
        """Kills the worker; the next question starts another."""
        if self.child is not None:
            self.child.kill()
        self.child, self._used, self._informed = None, False, False


def _outcome(answer: bytes | ChildError) -> StrategyOutcome:
    if isinstance(answer, ChildError):
        return StrategyOutcome(status=_STATUS[type(answer)], error=str(answer))
    try:
        return messages.decode_outcome(answer)
    except msgspec.MsgspecError as error:
        return StrategyOutcome(status="failed", error=f"gave an answer that can't be read: {error}")
