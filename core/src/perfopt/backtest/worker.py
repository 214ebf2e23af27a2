"""The process that evaluates baselines: one request, one service."""

import pickle
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class BaselineTask:
    """One service to evaluate baselines on, by type and name; see evaluate_policies."""

    snapshot: WorkloadSnapshot
    schedule: OriginSchedule
    policies: tuple[tuple[OptimizationType, str], ...]
    book: PriceBook


def encode_task(task: BaselineTask) -> bytes:
    """Encodes a task for the worker."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def decode_rows(data: bytes) -> list[EvaluatedRecommendation]:
    """Decodes a worker's answer."""
    return _decoder.decode(data)


def main() -> None:
    """Runs until the parent closes the connection."""
    channel = MessageChannel()
    while True:
        task: BaselineTask = pickle.loads(channel.receive())  # noqa: S301  from the parent that started this
        policies = [baseline_policy(kind, name) for kind, name in task.policies]
        channel.send(_encoder.encode(evaluate_policies(task.snapshot, task.schedule, policies, task.book)))
