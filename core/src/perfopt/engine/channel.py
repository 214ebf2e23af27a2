"""The child's end of a `ChildProcess`."""

import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection

_GRACE_SECONDS = 5


class MessageChannel:
    """Takes stdin and stdout for requests and answers; what is printed from then on goes to stderr.

    A thread reads ahead, so that the end of the parent is noticed while a strategy computes.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        reader = Connection(os.dup(0), writable=False)
        self._answers = Connection(os.dup(1), readable=False)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(reader, self._requests), daemon=True).start()

    def receive(self) -> bytes:
        """Waits for the next request."""
        return self._requests.get()

    def send(self, answer: bytes) -> None:
        """Sends an answer."""
        self._answers.send_bytes(answer)


def _read(reader: Connection, requests: "queue.SimpleQueue[bytes]") -> None:
    while True:
        try:
            requests.put(reader.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)  # the parent is gone; nobody would read an answer


def end_after(deadline_seconds: float) -> None:
    """Has the kernel end this process some time after the deadline, even where Python no longer runs.

    The parent kills on time; this is for a parent that is gone while foreign code holds the interpreter.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(deadline_seconds) + _GRACE_SECONDS)


def end_never() -> None:
    """Takes `end_after` back."""
    signal.alarm(0)
