"""The process that evaluates baselines: one task, one service."""

import pickle
from dataclasses import dataclass
from typing import Protocol

import msgspec

from perfopt.backtest.evaluate import evaluate_policies
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.backtest.policies import baseline_policy
from perfopt.backtest.schedule import OriginSchedule
from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import PriceBook
from perfopt.engine.channel import MessageChannel
from perfopt.metrics.snapshot import WorkloadSnapshot

WORKER = "perfopt.backtest.worker:main"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[EvaluatedRecommendation])


class WorkerTask(Protocol):
    """What a worker is given; picklable."""

    @property
    def service(self) -> str:
        """Name of the service that it is about."""
        ...

    def answer(self) -> bytes:
        """Does the work and returns its encoded result."""
        ...


@dataclass(frozen=True, slots=True)
class BaselineTask:
    """One service to evaluate baselines on, by type and name; see evaluate_policies."""

    snapshot: WorkloadSnapshot
    schedule: OriginSchedule
    policies: tuple[tuple[OptimizationType, str], ...]
    book: PriceBook

    @property
    def service(self) -> str:
        """Name of the service."""
        return self.snapshot.workload.service_name

    def answer(self) -> bytes:
        """Returns the encoded evaluations."""
        policies = [baseline_policy(kind, name) for kind, name in self.policies]
        return _encoder.encode(evaluate_policies(self.snapshot, self.schedule, policies, self.book))


def encode_task(task: WorkerTask) -> bytes:
    """Encodes a task for the worker."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def decode_rows(data: bytes) -> list[EvaluatedRecommendation]:
    """Decodes the answer to a BaselineTask."""
    return _decoder.decode(data)


def main() -> None:
    """Runs until the parent closes the connection."""
    channel = MessageChannel()
    while True:
        task: WorkerTask = pickle.loads(channel.receive())  # noqa: S301  from the parent that started this
        channel.send(task.answer())
