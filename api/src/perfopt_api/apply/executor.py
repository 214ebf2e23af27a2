"""Whether a cluster may be changed, and the cluster itself, opened from the configuration."""

import contextlib
from collections.abc import AsyncIterator

from perfopt.config import Config
from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.cluster import Cluster
from perfopt_api.policy.settings import policy_settings


def can_apply(config: Config) -> bool:
    """Returns whether a cluster may be changed: policy.apply is not off."""
    return policy_settings(config).apply != "off"


def kubernetes_of(config: Config) -> KubernetesConfig:
    """Returns how the policy's cluster is reached: as its metric source says, else by the service account."""
    name = policy_settings(config).cluster or config.default_source
    if name is None and len(config.sources) == 1:
        (name,) = config.sources
    source = config.sources.get(name or "")
    return getattr(source, "kubernetes", None) or KubernetesConfig()


@contextlib.asynccontextmanager
async def open_cluster(config: Config) -> AsyncIterator[Cluster]:
    """Gives the cluster that changes are made in while the context is open.

    Raises:
        InvalidInputError: there is neither a service account nor a kubeconfig.
    """
    from perfopt_api.apply.kubernetes.cluster import KubernetesCluster  # slow to import

    cluster = KubernetesCluster(kubernetes_of(config))
    try:
        yield cluster
    finally:
        cluster.close()
