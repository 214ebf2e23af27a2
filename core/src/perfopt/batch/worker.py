"""The process of a ProcessExecutor: runs one task after the other."""

import pickle
import warnings
from typing import Any

from perfopt.engine.channel import MessageChannel
from perfopt.engine.foreign import describe
from perfopt.errors import PerfoptError


def main() -> None:
    """Runs until the parent closes the connection."""
    channel = MessageChannel()
    warnings.simplefilter("ignore")  # they would go to the terminal of a user who can do nothing about them
    while True:
        channel.send(run_task(channel.receive()))


def run_task(task: bytes) -> bytes:
    """Runs an encoded call; returns whether it succeeded and its result or error, encoded."""
    answer: tuple[bool, Any]
    try:
        function, args, kwargs = pickle.loads(task)  # noqa: S301  from the parent that started this
        answer = (True, function(*args, **kwargs))
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return _encoded_error(error)


def _encoded_error(error: Exception) -> bytes:
    try:
        encoded = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(encoded)  # noqa: S301  what was just written; some errors can't be made anew
    except Exception:
        return pickle.dumps((False, PerfoptError(f"A task of batch work {describe(error)}.")))
    return encoded
