"""Functions that tests submit to executors: child processes import them by name."""

import os
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def fail(message: str) -> None:
    from perfopt.errors import InvalidInputError

    raise InvalidInputError(message, field="number", remedy="Give another.")


def end_process(_: int) -> None:
    os._exit(3)


def fail_with_what_cannot_be_pickled(_: int) -> None:
    class LocalError(Exception):
        pass

    raise LocalError("here")


def square_when_allowed(number: int, folder: Path) -> int:
    """Leaves its process id in a file, and waits for the file `go`."""
    (folder / f"began-{number}-{os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while not (folder / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
    return number * number
