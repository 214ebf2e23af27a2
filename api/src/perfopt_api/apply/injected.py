"""Sidecars that an injector adds to pods: no template has them, and annotations set their size."""

from collections.abc import Collection

_ANNOTATIONS = {
    "istio-proxy": "sidecar.istio.io/proxyCPU, proxyMemory, proxyCPULimit and proxyMemoryLimit",
    "linkerd-proxy": "config.linkerd.io/proxy-cpu-request, proxy-memory-request, proxy-cpu-limit and"
    " proxy-memory-limit",
    "daprd": "dapr.io/sidecar-cpu-request, sidecar-memory-request, sidecar-cpu-limit and"
    " sidecar-memory-limit",
    "vault-agent": "vault.hashicorp.com/agent-requests-cpu, agent-requests-mem, agent-limits-cpu and"
    " agent-limits-mem",
    "consul-dataplane": "consul.hashicorp.com/sidecar-proxy-cpu-request, sidecar-proxy-memory-request,"
    " sidecar-proxy-cpu-limit and sidecar-proxy-memory-limit",
}


def injected(names: Collection[str]) -> tuple[str, ...]:
    """Returns which containers of a pod an injector added; one that is alone is a gateway's own."""
    added = tuple(sorted(name for name in names if name in _ANNOTATIONS))
    return added if len(added) < len(names) else ()


def injected_note(names: Collection[str]) -> str:
    """Returns what to set for containers that `injected` gives."""
    places = "; ".join(f"{name}: {_ANNOTATIONS[name]}" for name in names)
    return f"Left out, as injectors add them to pods and annotations of the pod template set them: {places}."
