"""What changes a cluster, opened from the configuration where this version has it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from perfopt.config import Config
from perfopt_api.apply.cluster import Cluster
from perfopt_api.policy.settings import policy_settings

Opener = Callable[[Config], AbstractAsyncContextManager[Cluster]]
OPENER: Opener | None = None
"""Opens the executor of this version; None where it has none."""


def can_apply(config: Config) -> bool:
    """Returns whether a cluster may be changed: there is an executor, and policy.apply is not off."""
    return OPENER is not None and policy_settings(config).apply != "off"
