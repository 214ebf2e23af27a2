"""The process that walks services through the baselines' policies: one request, one service."""

import pickle
from dataclasses import dataclass

import msgspec

from perfopt.backtest.plan import Plan
from perfopt.backtest.trial import Trial
from perfopt.backtest.walk import walk_baselines
from perfopt.domain.price import PriceBook
from perfopt.engine.channel import Channel
from perfopt.metrics.snapshot import WorkloadSnapshot

WORKER = "perfopt.backtest.worker:main"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Trial])


@dataclass(frozen=True, slots=True)
class Task:
    """One service to walk; see walk_baselines."""

    snapshot: WorkloadSnapshot
    plan: Plan
    policies: tuple[str, ...]
    book: PriceBook


def encode_task(task: Task) -> bytes:
    """Encodes a task for the worker."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def decode_trials(data: bytes) -> list[Trial]:
    """Decodes a worker's answer."""
    return _decoder.decode(data)


def main() -> None:
    """Runs until the parent closes the connection."""
    channel = Channel()
    while True:
        task: Task = pickle.loads(channel.receive())  # noqa: S301  from the parent that started this process
        channel.send(_encoder.encode(walk_baselines(task.snapshot, task.plan, task.policies, task.book)))
