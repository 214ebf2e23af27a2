"""How to reach the API of the cluster that a metric source watches."""

from typing import Annotated

import msgspec
from msgspec import Meta


class KubernetesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Kubernetes API beside a metric source; read only, and never a Secret.

    Within the cluster the pod's service account is used. Elsewhere the kubeconfig is: the one named here,
    else $KUBECONFIG, else ~/.kube/config.

    Attributes:
        cluster: value of the source's cluster label for this API; unset where there is only one cluster.
        kubeconfig: path of a kubeconfig; where it is set, the service account is not used.
        context: context of the kubeconfig; unset is its current one.
        namespaces: namespaces to read; empty is all, which needs a ClusterRole.
        timeout_seconds: time for one request.
        retries: attempts after the first, on connection errors, timeouts, 429, 500, 502, 503 and 504.
        page_size: objects in one answer.
    """

    cluster: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    namespaces: tuple[Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")], ...] = ()
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    retries: Annotated[int, Meta(ge=0, le=20)] = 3
    page_size: Annotated[int, Meta(ge=1, le=5000)] = 250
