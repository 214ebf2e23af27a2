"""Keeps a worker on the models that are active in the registry."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from perfopt.errors import PerfoptError, UnavailableError
from perfopt_api.store.models import RegisteredModel
from perfopt_api.supervision import BackgroundTask

_log = structlog.get_logger(__name__)


class ActiveModels(Protocol):
    """What the watch reads of the registry; see perfopt_api.store.models."""

    async def active(self) -> tuple[RegisteredModel, ...]:
        """Returns the models in use, at most one a kind."""

    async def content(self, model: RegisteredModel) -> bytes:
        """Returns the content of a model, or raises CorruptModelError."""


class ModelWatch(BackgroundTask):
    """Looks at the registry before the first job and every few seconds, and hands over what changed.

    A model that can't be used (its hash is wrong, this version can't read it) leaves in use what was; that
    is logged as an error, once.

    Args:
        registry: of models.
        use: takes the models from now on, kind to content; it blocks, so it runs in a thread.
        poll_seconds: from one look to the next.
    """

    name = "model_watch"

    def __init__(
        self, registry: ActiveModels, use: Callable[[Mapping[str, bytes]], None], poll_seconds: float
    ) -> None:
        self._registry = registry
        self._use = use
        self.pause_seconds = poll_seconds
        self._seen: dict[str, str] = {}
        self._used: dict[str, bytes] = {}

    async def start(self) -> None:
        """Takes what is active, before the first job.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        await self.look()

    async def round(self) -> None:
        """Looks once; while PostgreSQL is away, what is in use stays."""
        await self.look()

    async def look(self) -> None:
        """Takes over what changed.

        Raises:
            UnavailableError: PostgreSQL is not reachable; nothing is changed.
        """
        active = {model.kind: model for model in await self._registry.active()}
        seen = {kind: model.sha256 for kind, model in active.items()}
        if seen == self._seen:
            return
        gone = self._seen.keys() - seen.keys()
        current = {kind: content for kind, content in self._used.items() if kind not in gone}
        for kind, model in active.items():
            if self._seen.get(kind) != model.sha256:
                current = await self._taken(current, model)
        if current != self._used:
            await asyncio.to_thread(self._use, current)
            self._used = current
        for kind in gone:
            _log.info("model_released", kind=kind)
        self._seen = seen

    async def _taken(self, current: dict[str, bytes], model: RegisteredModel) -> dict[str, bytes]:
        log = _log.bind(kind=model.kind, version=model.version, sha256=model.sha256)
        try:
            changed = {**current, model.kind: await self._registry.content(model)}
            await asyncio.to_thread(self._use, changed)
        except UnavailableError:
            raise
        except PerfoptError as error:
            log.error("model_refused", reason=str(error))
            return current
        log.info("model_in_use")
        self._used = changed
        return changed
