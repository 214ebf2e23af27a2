"""A workload as it changes: watches on it and its pods say when to read again."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from perfopt_api.apply.cluster import WorkloadTarget, WorkloadView
from perfopt_api.apply.kubernetes import access
from perfopt_api.apply.kubernetes.client import EventStream, KubernetesRequests
from perfopt_api.apply.kubernetes.reader import KubernetesReader
from perfopt_api.apply.kubernetes.refusals import refusals

_SECONDS = 240  # after which a watch is opened anew, as clients of Kubernetes do
_TOGETHER_SECONDS = 0.05  # changes that come within this are read as one
_AGAIN_SECONDS = 1.0


class _Bell:
    """Watches one collection in a thread and rings on every event, and on every loss of the connection."""

    def __init__(self, requests: KubernetesRequests, path: str, query: dict[str, str], ring: Any) -> None:
        self._requests, self._path, self._query, self._ring = requests, path, query, ring
        self._stop = threading.Event()
        self._stream: EventStream | None = None
        self._thread = threading.Thread(target=self._run, name="perfopt-watch", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; the thread ends with its connection."""
        self._stop.set()
        if self._stream is not None:
            self._stream.interrupt()

    def _run(self) -> None:
        while not self._stop.is_set():
            # Whatever ended it, it is opened again and everything read anew.
            with contextlib.suppress(Exception):
                self._stream = self._requests.watch(self._path, self._query, _SECONDS)
                with contextlib.closing(self._stream):
                    self._listen(self._stream)
            if not self._stop.wait(_AGAIN_SECONDS):
                self._ring()

    def _listen(self, stream: EventStream) -> None:
        if self._stop.is_set():  # before there was a stream to interrupt
            return
        for _ in stream:
            if self._stop.is_set():
                return
            self._ring()


async def changed(reader: KubernetesReader, target: WorkloadTarget) -> AsyncIterator[WorkloadView]:
    """Gives the workload now and after each change, until the caller stops.

    A watch begins without a version: it tells what is there first, so an expired version cannot happen, and
    nothing is missed between two watches, because each event and each loss leads to a fresh read.
    """
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def ring() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(event.set)

    space = target.namespace
    one = {"fieldSelector": f"metadata.name={target.name}"}
    with refusals():
        kind = await reader.kind(target)
        obj = await reader.requests.get(kind.call("get"), space, target.name)
        labels = await reader.selector(kind, obj)
    bells = [_Bell(reader.requests, kind.call("watch").path(space), one, ring)]
    if labels:
        bells.append(_Bell(reader.requests, access.WATCH_PODS.path(space), {"labelSelector": labels}, ring))
    last: WorkloadView | None = None
    try:
        for bell in bells:
            bell.start()
        while True:
            event.clear()
            view = await reader.read(target)
            if last is None or _differs(view, last):
                last = view
                yield view
            await event.wait()
            await asyncio.sleep(_TOGETHER_SECONDS)
    finally:
        for bell in bells:
            bell.stop()


def _differs(view: WorkloadView, last: WorkloadView) -> bool:
    names = [name for name in view.__struct_fields__ if name != "read_at"]
    return any(getattr(view, name) != getattr(last, name) for name in names)
