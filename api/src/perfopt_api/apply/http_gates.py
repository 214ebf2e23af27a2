"""Gates over HTTP: other systems that confirm, refuse or take back a change."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from perfopt.sources.retry import RetryPolicy
from perfopt_api.policy.hooks import GateHook, Point

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_SHOWN = 300  # characters of an answer


class GateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate answered.

    Attributes:
        gate: its name, as the configuration has it.
        open: it answered 2xx.
        reason: one sentence: its own, or why there was no answer.
    """

    gate: str
    open: bool
    reason: str

    @property
    def rule(self) -> str:
        """The name of the gate as a rule."""
        return f"hooks.gates.{self.gate}"


class HttpGates:
    """Asks gates about changes. A gate that cannot be reached is closed.

    Args:
        hooks: by name.
        transport: carries requests; None is the network.
    """

    def __init__(
        self, hooks: Mapping[str, GateHook], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._hooks = hooks
        self._transport = transport

    async def closed(self, point: Point, change: Mapping[str, Any]) -> GateAnswer | None:
        """Returns the first gate of a point that is not open; None where all are, or there is none."""
        for name, hook in self._hooks.items():
            if point in hook.points:
                answer = await self._ask(name, hook, point, change, retries=hook.retries)
                if not answer.open:
                    return answer
        return None

    async def asks_for_rollback(self, change: Mapping[str, Any]) -> GateAnswer | None:
        """Returns the first gate that wants a change taken back; None where none does."""
        for name, hook in self._hooks.items():
            if "rollback" in hook.points:
                answer = await self._ask(name, hook, "rollback", change, retries=0)
                if answer.open:
                    return answer
        return None

    async def _ask(
        self, name: str, hook: GateHook, point: Point, change: Mapping[str, Any], *, retries: int
    ) -> GateAnswer:
        policy = RetryPolicy(retries)
        headers = {} if hook.token is None else {"Authorization": f"Bearer {hook.token}"}
        body = {"gate": name, "point": point, **change}
        async with httpx.AsyncClient(transport=self._transport, timeout=hook.timeout_seconds) as client:
            while True:
                retry_after = None
                try:
                    answer = await client.post(hook.url, json=body, headers=headers)
                except httpx.HTTPError as error:
                    failure = str(error) or type(error).__name__
                else:
                    if answer.status_code not in _AGAIN:
                        return GateAnswer(gate=name, open=answer.is_success, reason=_reason(name, answer))
                    failure, retry_after = f"HTTP {answer.status_code}", answer.headers.get("retry-after")
                wait = policy.wait_after(failure, retry_after)
                if wait is None:
                    reason = f"The gate {name} cannot be reached, and is closed: {policy.summary()}"
                    return GateAnswer(gate=name, open=False, reason=reason)
                await asyncio.sleep(wait)


def _reason(name: str, answer: httpx.Response) -> str:
    """Returns the gate's own words where its answer has any: {"reason": ...}, or a short text."""
    try:
        body = answer.json()
        own = str(body.get("reason", "")) if isinstance(body, dict) else ""
    except ValueError:
        own = answer.text if answer.headers.get("content-type", "").startswith("text/plain") else ""
    own = " ".join(own.split())[:_SHOWN]
    state = "open" if answer.is_success else "closed"
    return f"The gate {name} is {state} (HTTP {answer.status_code}){': ' + own if own else '.'}"


NO_GATES = HttpGates({})
"""Where nobody else is asked."""
