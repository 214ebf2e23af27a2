"""How often a requester may ask: a bucket of tokens for each, filled at a steady rate."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from perfopt_api.errors import RateLimitedError

BURST_SECONDS = 2.0
MAX_BUCKETS = 10_000


class TokenBuckets:
    """A bucket for each requester; it holds what BURST_SECONDS bring, and a request takes one token.

    The buckets of those who asked longest ago are dropped beyond MAX_BUCKETS: they were full again.

    Args:
        rate: tokens a second.
        clock: seconds that only grow.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(rate * BURST_SECONDS, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, requester: str) -> None:
        """Takes a token.

        Raises:
            RateLimitedError: the bucket is empty; it says when the next token comes.
        """
        now = self._clock()
        tokens, since = self._buckets.pop(requester, (self._size, now))
        tokens = min(tokens + (now - since) * self._rate, self._size)
        left = tokens - 1.0 if tokens >= 1.0 else tokens
        self._buckets[requester] = left, now
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if tokens < 1.0:
            raise RateLimitedError(
                f"More than {self._rate:g} requests a second came from you.",
                remedy="Wait for the seconds in Retry-After, and ask less often.",
                retry_after_seconds=math.ceil((1.0 - tokens) / self._rate),
            )
