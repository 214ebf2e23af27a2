"""Works on what a source gives as it comes, a few at once, and hands the results on in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any


async def in_order[T, R](
    given: AsyncIterator[T], work: Callable[[T], Coroutine[Any, Any, R]], *, at_once: int
) -> AsyncGenerator[R]:
    """Yields what a function makes of each item, in the order of the items.

    Args:
        given: the items; no more is taken than is worked on.
        work: of one item.
        at_once: how many are worked on at the same time; the results do not depend on it.
    """
    pending: deque[asyncio.Task[R]] = deque()
    try:
        async for item in given:
            pending.append(asyncio.create_task(work(item)))
            if len(pending) >= at_once:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
