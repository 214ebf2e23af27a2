"""What changes a cluster and what judges the change, opened from the configuration where there is one."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from perfopt.config import Config
from perfopt.sources.base import MetricSource
from perfopt_api.apply.cluster import Cluster
from perfopt_api.apply.verifier import Verifier
from perfopt_api.policy.settings import policy_settings

OpenSource = Callable[[str | None], Awaitable[MetricSource]]
"""Opens a configured metric source, or the default one; it stays open."""


@dataclass(frozen=True, slots=True)
class ApplyExecutor:
    """Where changes are made, and what judges them."""

    cluster: Cluster
    verifier: Verifier


Opener = Callable[[Config, OpenSource], AbstractAsyncContextManager[ApplyExecutor]]
OPENER: Opener | None = None
"""Opens the executor of this version; None where it has none."""


def can_apply(config: Config) -> bool:
    """Returns whether a cluster may be changed: there is an executor, and policy.apply is not off."""
    return OPENER is not None and policy_settings(config).apply != "off"
