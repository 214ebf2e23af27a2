"""Leaving in time: what still runs when the time after a stop is over does not hold up the process."""

import asyncio
import os
import signal
import threading

import structlog

EXIT_SECONDS = 10.0
_log = structlog.get_logger(__name__)


def stop_on_signals(*, exit_within: float | None = None) -> asyncio.Event:
    """Returns an event that SIGINT and SIGTERM set, in place of what they did before.

    Args:
        exit_within: seconds from the first signal after which the process ends, whatever still runs in it;
            None waits for everything.
    """
    stop = asyncio.Event()

    def stopped() -> None:
        if exit_within is not None and not stop.is_set():
            timer = threading.Timer(exit_within, _leave, (exit_within,))
            timer.daemon = True
            timer.start()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped)
    return stop


def _leave(seconds: float) -> None:
    """Ends the process. Child processes of the engine end with it, and jobs are claimed again by others."""
    _log.warning("stopped_with_work_left", seconds=seconds)
    os._exit(0)
