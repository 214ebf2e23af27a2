"""The last answers of a source, kept: answers about the past do not change."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class AnswerCache[Key: Hashable, Value]:
    """Asks once for each of the last few keys, for all who want it at the same time too."""

    def __init__(self, ask: Callable[[Key], Awaitable[Value]], most: int) -> None:
        """Prepares it; asks nothing yet.

        Args:
            ask: what is asked; what it raises is not kept.
            most: how many keys are kept.
        """
        self._ask, self._most = ask, most
        self._tasks: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """Returns the answer for a key; raises what asking does."""
        task = self._tasks.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.ensure_future(self._ask(key))
            self._tasks[key] = task
            for old in list(self._tasks)[: -self._most]:
                del self._tasks[old]
        return await asyncio.shield(task)
