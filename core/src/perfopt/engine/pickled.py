"""Engines of other processes: what is sent in place of an engine, and the engine that it becomes there."""

import hashlib
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec.structs import replace

from perfopt.config import Config
from perfopt.domain.record import StrategyRecord
from perfopt.engine.breaker import PluginCircuitBreaker
from perfopt.engine.registry import PluginRegistry

MAX_ENGINES = 2
"""Engines that a process keeps: a comparison of models uses two."""


class OpenedEngine(Protocol):
    """What is done with an engine here."""

    def use_models(self, models: Mapping[str, bytes]) -> object:
        """Has strategies read these models."""

    def use_records(self, records: Mapping[str, StrategyRecord]) -> object:
        """Has confidence rest on these records."""

    def close(self) -> None:
        """Ends its processes."""


OpenEngine = Callable[[PluginRegistry, Config, PluginCircuitBreaker], OpenedEngine]
_engines: dict[bytes, OpenedEngine] = {}
_lock = threading.Lock()


def encode_engine(
    registry: PluginRegistry,
    config: Config,
    models: Mapping[str, bytes],
    records: Mapping[str, StrategyRecord],
) -> bytes:
    """Encodes what an engine was made from, without addresses and credentials of sources and services."""
    config = Config(
        price_books=config.price_books,
        price_book=config.price_book,
        engine=replace(config.engine, processes=1),
        rules=config.rules,
        plugins=config.plugins,
        unclaimed=config.unclaimed,
    )
    return pickle.dumps((registry, config, dict(models), dict(records)), pickle.HIGHEST_PROTOCOL)


def decode_engine(open_engine: OpenEngine, encoded: bytes) -> OpenedEngine:
    """Returns this process's engine of an encoded one: opened once, for one analysis at a time.

    It sets no strategy aside after failures in a row: what a row is would depend on who runs what.
    """
    key = hashlib.sha256(encoded).digest()
    with _lock:
        if key not in _engines:
            registry, config, models, records = pickle.loads(encoded)  # noqa: S301  from who gave the work
            engine = open_engine(registry, config, PluginCircuitBreaker(failures=sys.maxsize))
            engine.use_models(models)
            engine.use_records(records)
            while len(_engines) >= MAX_ENGINES:
                _engines.pop(next(iter(_engines))).close()
            _engines[key] = engine
        return _engines[key]
